#include "tools/check/number_range.h"

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace sotto::check {

CLI::Validator NumberIn(double least, double most) {
  const std::string range = absl::StrCat("in [", least, ", ", most, "]");
  return CLI::Validator(
      [=](std::string& text) -> std::string {
        double value = 0;
        if (absl::SimpleAtod(text, &value) && value >= least && value <= most) return "";
        return absl::StrCat("must be ", range, ", but is ", text);
      },
      range);
}

}  // namespace sotto::check
