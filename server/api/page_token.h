// Pages of lists (AIP-158).
#ifndef SOTTO_SERVER_API_PAGE_TOKEN_H_
#define SOTTO_SERVER_API_PAGE_TOKEN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sotto::api {

// 0: 50; over 1000: 1000. INVALID_ARGUMENT: negative.
absl::StatusOr<int> PageSize(int32_t requested);

// A token for the page after `position`, valid only together with the same `filter` (no '.' in it).
std::string MakePageToken(absl::string_view filter, absl::string_view position);

// The position of a token; "" for an empty token. INVALID_ARGUMENT: not a token of this filter.
absl::StatusOr<std::string> ReadPageToken(absl::string_view filter, absl::string_view token);
// The same for a position that is a positive number; 0 for an empty token.
absl::StatusOr<int64_t> ReadNumberToken(absl::string_view filter, absl::string_view token);

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_PAGE_TOKEN_H_
