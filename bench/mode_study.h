// What ./dev bench modes measures: which modes, of which models, at which lengths.
#ifndef SOTTO_BENCH_MODE_STUDY_H_
#define SOTTO_BENCH_MODE_STUDY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/mode_rounds.h"

namespace sotto::bench {

// A request without folder and deadline, and its share of the time that all requests may take.
struct StudyPart {
  RoundsRequest request;
  double weight = 1;  // in the study: seconds of a round on the machine of docs/performance.md
};

struct StudyOptions {
  int rounds = 5;
  int64_t micro_batches = 2;
  int threads = 1;
  bool has_peers = false;
};

// no_dp, per_example and auto at five lengths and for a larger model, with flash_bk at T=64; at two
// lengths every mode, deferred norms and the peers. 2048 tokens a micro-batch.
absl::StatusOr<std::vector<StudyPart>> Study(const StudyOptions& options);

// Minutes of all rounds of a study, and of starting its processes, on that machine.
double EstimatedMinutes(const std::vector<StudyPart>& study);

// The same modes at each shape ("128x16": tokens and examples of a micro-batch) of one model.
// INVALID_ARGUMENT: a shape or a model that does not exist.
absl::StatusOr<std::vector<StudyPart>> Comparison(const std::string& model,
                                                  const std::vector<std::string>& shapes,
                                                  const std::vector<std::string>& modes,
                                                  const StudyOptions& options);

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_MODE_STUDY_H_
