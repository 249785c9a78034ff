// Medians and quartiles of what one shape's contenders measured.
#ifndef SOTTO_BENCH_MODE_ROWS_H_
#define SOTTO_BENCH_MODE_ROWS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/mode_rounds.h"

namespace sotto::bench {

// The middle value and the quartiles around it (linear between values); NaN of nothing.
struct Spread {
  double low = 0;  // a quarter of the values lie below
  double median = 0;
  double high = 0;
};

// One contender. Ratios are medians over the rounds that both ran of the base's step over its own;
// NaN without the base.
struct ModeRow {
  std::string name;
  bool is_peer = false;
  Spread step_seconds;
  double tokens_per_second = 0;  // of the median step
  Spread ratio_to_no_dp;
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
  std::string choice;  // of auto
};

// In the order of the contenders.
std::vector<ModeRow> RowsOf(const MeasuredShape& measured);

// Null where there is none.
const ModeRow* FindRow(const std::vector<ModeRow>& rows, const std::string& name);

// One contender over another: their steps in the same rounds, so that what slows a round slows
// both.
struct PairedRatio {
  std::string own;
  std::string base;
  Spread ratio;    // base's step over own's
  int rounds = 0;  // that both ran
};

// The best DP mode over Opacus's best; nothing where no round has both.
std::optional<PairedRatio> BestOverOpacus(const MeasuredShape& measured);

// Modes with clipping but auto. Of a single one "best" says nothing.
int NumFixedModes(const std::vector<ModeRow>& rows);

// The fastest mode with clipping but auto; the fastest with auto; the fastest of Opacus's.
const ModeRow* BestFixedMode(const std::vector<ModeRow>& rows);
const ModeRow* BestMode(const std::vector<ModeRow>& rows);
const ModeRow* BestOpacus(const std::vector<ModeRow>& rows);

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_MODE_ROWS_H_
