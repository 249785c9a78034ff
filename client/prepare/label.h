// The class of a record, as JSON lines say it.
#ifndef SOTTO_CLIENT_PREPARE_LABEL_H_
#define SOTTO_CLIENT_PREPARE_LABEL_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "nlohmann/json_fwd.hpp"

namespace sotto::client {

// The field "label" of `object`: a whole number below `classes`; -1 without classes. How many
// classes there are is public and never taken from the records. INVALID_ARGUMENT: the rule.
absl::StatusOr<int32_t> LabelOf(const nlohmann::json& object, int32_t classes);

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_LABEL_H_
