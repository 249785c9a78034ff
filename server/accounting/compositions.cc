#include "server/accounting/compositions.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sotto::accounting {

absl::StatusOr<Compositions> Compositions::Create(std::vector<int64_t> first_steps,
                                                  int64_t steps_per_epoch) {
  if (steps_per_epoch < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("steps_per_epoch must be at least 1, but is ", steps_per_epoch));
  }
  if (first_steps.empty() || first_steps[0] != 0) {
    return absl::InvalidArgumentError("the first noise segment must begin at step 0");
  }
  for (size_t i = 0; i < first_steps.size(); ++i) {
    if (i > 0 && first_steps[i] <= first_steps[i - 1]) {
      return absl::InvalidArgumentError(absl::StrCat(
          "noise segments must ascend, but ", first_steps[i], " follows ", first_steps[i - 1]));
    }
    if (first_steps[i] % steps_per_epoch != 0) {
      return absl::InvalidArgumentError(absl::StrCat("a noise segment begins at step ",
                                                     first_steps[i], ", inside an epoch of ",
                                                     steps_per_epoch, " steps"));
    }
  }
  return Compositions(std::move(first_steps), steps_per_epoch);
}

Compositions::Compositions(std::vector<int64_t> first_steps, int64_t steps_per_epoch)
    : first_steps_(std::move(first_steps)), steps_per_epoch_(steps_per_epoch) {}

std::vector<int64_t> Compositions::Count(int64_t first, int64_t end, int64_t released_end) const {
  std::vector<int64_t> counts(first_steps_.size(), 0);
  if (end <= first) return counts;
  int64_t first_epoch = first / steps_per_epoch_;
  const int64_t epoch_begin = first_epoch * steps_per_epoch_;
  const bool goes_on = epoch_begin < released_end && released_end <= first;
  if (goes_on) ++first_epoch;
  const int64_t end_epoch = (end - 1) / steps_per_epoch_ + 1;
  for (size_t i = 0; i < counts.size(); ++i) {
    const int64_t begins = first_steps_[i] / steps_per_epoch_;
    const int64_t ends = i + 1 < counts.size() ? first_steps_[i + 1] / steps_per_epoch_
                                               : std::numeric_limits<int64_t>::max();
    counts[i] = std::max<int64_t>(0, std::min(end_epoch, ends) - std::max(first_epoch, begins));
  }
  return counts;
}

size_t Compositions::SegmentOf(int64_t step) const {
  const auto after = std::upper_bound(first_steps_.begin() + 1, first_steps_.end(), step);
  return static_cast<size_t>(after - first_steps_.begin()) - 1;
}

}  // namespace sotto::accounting
