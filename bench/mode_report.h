// What was measured, for people and for programs.
#ifndef SOTTO_BENCH_MODE_REPORT_H_
#define SOTTO_BENCH_MODE_REPORT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "bench/mode_rounds.h"
#include "nlohmann/json.hpp"

namespace sotto::bench {

// One contender's medians. Ratios are medians over the rounds that both ran of the base's step over
// its own; NaN without the base.
struct ModeRow {
  std::string name;
  bool is_peer = false;
  double tokens_per_second = 0;
  double ratio_to_no_dp = 0;
  double cpu_ratio_to_no_dp = 0;
  double ratio_to_pytorch = 0;
  // Of deferred norms over the same mode with immediate ones: speed, and the tensors' peak.
  double ratio_to_immediate = 0;
  double memory_to_immediate = 0;
  double release_share = 0;  // sampling, noise and optimizer over the step
  int64_t peak_bytes = 0;    // resident
  int64_t planned_bytes = 0;
  int64_t tensor_peak_bytes = 0;
  int64_t planned_tensor_bytes = 0;
  int repeats = 0;
};

std::vector<ModeRow> RowsOf(const MeasuredShape& measured);

// A table of one shape, and what its targets ask for: best DP mode, auto against it, peers, memory.
std::string TextOf(const MeasuredShape& measured);

// Everything, with the single steps.
nlohmann::json JsonOf(const MeasuredShape& measured);

// Two plots side by side: the best DP mode's and auto's ratio to no_dp over T for each model, and
// all ratios where every mode was measured. NOT_FOUND: no gnuplot.
absl::Status WritePlot(const std::vector<MeasuredShape>& measured, const std::string& path);

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_MODE_REPORT_H_
