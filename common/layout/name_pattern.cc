#include "common/layout/name_pattern.h"

namespace sotto::layout {

bool MatchesPattern(absl::string_view pattern, absl::string_view text) {
  const size_t star = pattern.find('*');
  if (star == absl::string_view::npos) return pattern == text;
  if (text.substr(0, star) != pattern.substr(0, star)) return false;
  const absl::string_view rest = pattern.substr(star + 1);
  for (size_t begin = star; begin <= text.size(); ++begin) {
    if (MatchesPattern(rest, text.substr(begin))) return true;
  }
  return false;
}

}  // namespace sotto::layout
