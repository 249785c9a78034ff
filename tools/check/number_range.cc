#include "tools/check/number_range.h"

#include <string>

#include "common/base/number_range.h"

namespace sotto::check {

CLI::Validator NumberIn(double least, double most) {
  const NumberRange range{least, most};
  return CLI::Validator([range](std::string& text) { return range(text); }, range.Text());
}

}  // namespace sotto::check
