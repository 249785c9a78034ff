#include "client/prepare/label.h"

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace sotto::client {

absl::StatusOr<int32_t> LabelOf(const nlohmann::json& object, int32_t classes) {
  const auto field = object.find("label");
  const bool given = field != object.end();
  if (classes == 0) {
    if (!given) return -1;
    return absl::InvalidArgumentError(
        "has a \"label\", but --classes does not say how many classes there are");
  }
  if (given && field->is_number_unsigned() &&
      field->get<uint64_t>() < static_cast<uint64_t>(classes)) {
    return static_cast<int32_t>(field->get<uint64_t>());
  }
  return absl::InvalidArgumentError(
      absl::StrCat("field \"label\" must be a whole number from 0 to ", classes - 1,
                   given ? "" : ", but is missing"));
}

}  // namespace sotto::client
