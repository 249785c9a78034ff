// The same training at several world sizes: the models must be equal bit for bit.
#ifndef SOTTO_TOOLS_CHECK_WORLD_CHECK_H_
#define SOTTO_TOOLS_CHECK_WORLD_CHECK_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/check/run_settings.h"

namespace sotto::check {

struct WorldOptions {
  RunSettings settings;  // world_size is not used
  ModeChoice mode{.name = "per_example"};
  std::vector<int> world_sizes = {1, 2};  // the first is what the others are compared with
};

struct WorldRow {
  int world_size = 0;
  int64_t differing_parameters = 0;  // in any bit, from the first row's
  double seconds = 0;                // of the whole training

  bool Agrees() const { return differing_parameters == 0; }
};

// Plans and trains a job that promises nothing (fixed seed, random records) once for each world
// size, one thread a rank. INVALID_ARGUMENT: fewer than two world sizes, or what planning refuses.
// INTERNAL: a rank failed.
absl::StatusOr<std::vector<WorldRow>> CompareWorldSizes(const WorldOptions& options);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_WORLD_CHECK_H_
