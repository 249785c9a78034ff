#include "common/base/number_range.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace sotto {

std::string NumberRange::Text() const { return absl::StrCat("in [", least, ", ", most, "]"); }

std::string NumberRange::operator()(const std::string& text) const {
  double value = 0;
  if (absl::SimpleAtod(text, &value) && value >= least && value <= most) return "";
  return absl::StrCat("must be ", Text(), ", but is ", text);
}

}  // namespace sotto
