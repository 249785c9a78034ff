// The same training at several world sizes: the models must be equal bit for bit.
#ifndef SOTTO_TOOLS_CHECK_WORLD_CHECK_H_
#define SOTTO_TOOLS_CHECK_WORLD_CHECK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/check/model_shape.h"

namespace sotto::check {

struct WorldOptions {
  ModelShape shape;
  std::string mode = "per_example";
  std::vector<int> world_sizes = {1, 2};  // the first is what the others are compared with
  int steps = 3;
  double noise_multiplier = 1;
};

struct WorldRow {
  int world_size = 0;
  int64_t differing_parameters = 0;  // in any bit, from the first row's
  double seconds = 0;                // of the whole training

  bool Agrees() const { return differing_parameters == 0; }
};

// Plans and trains a job that promises nothing (fixed seed, random records) once for each world
// size, with ranks as threads of this process. INVALID_ARGUMENT: what planning refuses.
absl::StatusOr<std::vector<WorldRow>> CompareWorldSizes(const WorldOptions& options);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_WORLD_CHECK_H_
