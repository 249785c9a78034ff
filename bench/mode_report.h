// What was measured, for people.
#ifndef SOTTO_BENCH_MODE_REPORT_H_
#define SOTTO_BENCH_MODE_REPORT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "bench/mode_rounds.h"

namespace sotto::bench {

// A table of one shape, and what its targets ask for: best DP mode, auto against it, peers, memory.
std::string TextOf(const MeasuredShape& measured);

// The tables of docs/performance.md: the shapes, every mode where many were measured, the targets.
std::string MarkdownOf(const std::vector<MeasuredShape>& measured);

// Plots side by side: the best DP mode's and auto's ratio to no_dp over T for each model, and all
// ratios where every mode was measured; whiskers are quartiles. NOT_FOUND: no gnuplot.
absl::Status WritePlot(const std::vector<MeasuredShape>& measured, const std::string& path);

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_MODE_REPORT_H_
