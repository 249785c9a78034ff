#include "server/api/page_token.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "server/api/errors.h"

namespace sotto::api {
namespace {

constexpr int kDefaultPageSize = 50;
constexpr int kMaxPageSize = 1000;

absl::Status BadTokenError() {
  return BadRequestError({{"page_token", "is not a token that this list with this filter gave"}});
}

}  // namespace

absl::StatusOr<int> PageSize(int32_t requested) {
  if (requested < 0) {
    return BadRequestError({{"page_size", absl::StrCat("must be at least 0, but is ", requested)}});
  }
  return requested == 0 ? kDefaultPageSize : std::min<int>(requested, kMaxPageSize);
}

std::string MakePageToken(absl::string_view filter, absl::string_view position) {
  return absl::StrCat(filter, ".", position);
}

absl::StatusOr<std::string> ReadPageToken(absl::string_view filter, absl::string_view token) {
  if (token.empty()) return std::string();
  if (!absl::ConsumePrefix(&token, absl::StrCat(filter, ".")) || token.empty()) {
    return BadTokenError();
  }
  return std::string(token);
}

absl::StatusOr<int64_t> ReadNumberToken(absl::string_view filter, absl::string_view token) {
  ASSIGN_OR_RETURN(const std::string position, ReadPageToken(filter, token));
  if (position.empty()) return 0;
  int64_t number = 0;
  if (!absl::SimpleAtoi(position, &number) || number <= 0) return BadTokenError();
  return number;
}

}  // namespace sotto::api
