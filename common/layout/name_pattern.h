#ifndef SOTTO_COMMON_LAYOUT_NAME_PATTERN_H_
#define SOTTO_COMMON_LAYOUT_NAME_PATTERN_H_

#include "absl/strings/string_view.h"

namespace sotto::layout {

// Whether `text` is `pattern` with any text in place of each *.
bool MatchesPattern(absl::string_view pattern, absl::string_view text);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_NAME_PATTERN_H_
