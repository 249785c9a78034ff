#include "server/accounting/ranges.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace sotto::accounting {

Ranges& Ranges::Positive(absl::string_view name, double value) {
  return Require(value > 0 && std::isfinite(value), name, "finite and positive", value);
}

Ranges& Ranges::Probability(absl::string_view name, double value) {
  return Require(value > 0 && value < 1, name, "in (0, 1)", value);
}

Ranges& Ranges::SamplingRate(absl::string_view name, double value) {
  return Require(value > 0 && value <= 1, name, "in (0, 1]", value);
}

Ranges& Ranges::NonNegativeBelowOne(absl::string_view name, double value) {
  return Require(value >= 0 && value < 1, name, "in [0, 1)", value);
}

Ranges& Ranges::AtLeastOne(absl::string_view name, int64_t value) {
  return Require(value >= 1, name, "at least 1", static_cast<double>(value));
}

absl::Status Ranges::Check() const {
  if (broken_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(broken_, "; "));
}

Ranges& Ranges::Require(bool holds, absl::string_view name, absl::string_view rule, double value) {
  if (!holds) broken_.push_back(absl::StrCat(name, " must be ", rule, ", but is ", value));
  return *this;
}

}  // namespace sotto::accounting
