// Where a step's time and memory go.
#ifndef SOTTO_WORKER_TRAIN_PHASE_PROFILE_H_
#define SOTTO_WORKER_TRAIN_PHASE_PROFILE_H_

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/base/clock.h"

namespace sotto::train {

enum class Phase {
  kSampling,
  kLoad,  // records into tensors
  kForward,
  kFirstBackward,  // the first backward pass without what the next lines name
  kNorms,          // of layers, in the pass or after it; with held gradients also forming them
  kCoefficients,
  kSecondBackward,   // input gradients of the second pass
  kWeightGradients,  // of layers, in a pass or from held output gradients
  kFold,             // held gradients with their coefficients
  kGather,
  kReduce,
  kRelease,  // the mechanism before and after the update: sums over ranks, noise of the metrics
  kUpdate,   // noise, norm and optimizer: one pass over the shards
};

// Totals of one rank since it began or was cleared. A span inside another one takes its time from
// it, so that no time counts twice. Trainer thread only.
class PhaseProfile {
 public:
  struct Total {
    absl::string_view name;  // "first_backward"
    int64_t nanoseconds = 0;
    int64_t count = 0;  // spans; of kNorms and kWeightGradients layers
    // The most bytes that lived at any moment of the phase; 0 without a meter.
    int64_t peak_bytes = 0;
  };

  // Charges its lifetime to a phase. Without a profile it does nothing.
  class Span {
   public:
    Span(PhaseProfile* profile, Phase phase) : profile_(profile) {
      if (profile_ != nullptr) outer_ = profile_->Enter(static_cast<int>(phase));
    }
    ~Span() {
      if (profile_ != nullptr) profile_->Leave(outer_);
    }
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    PhaseProfile* const profile_;
    int outer_ = 0;
  };

  // The most bytes that lived since the last call.
  using TakePeakBytes = int64_t (*)();

  // Borrows the clock.
  explicit PhaseProfile(const Clock& clock, TakePeakBytes take_peak_bytes = nullptr);

  // By phase, in the order of the enum; also those that never ran.
  absl::Span<const Total> totals() const { return totals_; }
  const Total& total(Phase phase) const { return totals_[static_cast<int>(phase)]; }

  // Corrects a count where spans are not what is counted.
  void CountMore(Phase phase, int64_t count) { totals_[static_cast<int>(phase)].count += count; }

  // Not inside a span.
  void Clear();

 private:
  static constexpr int kPhases = static_cast<int>(Phase::kUpdate) + 1;
  static constexpr int kNone = -1;

  int Enter(int phase);
  void Leave(int outer);
  void ChargeCurrent();

  const Clock& clock_;
  const TakePeakBytes take_peak_bytes_;
  std::array<Total, kPhases> totals_;
  int current_ = kNone;
  absl::Time since_;
};

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_PHASE_PROFILE_H_
