#include "common/spec/violation.h"

#include <optional>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"

namespace sotto::spec {
namespace {

constexpr char kPayloadUrl[] = "sotto/spec_violations";

}  // namespace

std::string Describe(const Violation& violation) {
  std::string text;
  if (violation.line > 0) absl::StrAppend(&text, "line ", violation.line, ": ");
  absl::StrAppend(&text, violation.field.empty() ? "the spec" : violation.field, " ",
                  violation.rule);
  if (!violation.value.empty()) absl::StrAppend(&text, ", but is ", violation.value);
  return text;
}

absl::Status ViolationsError(const std::vector<Violation>& violations) {
  absl::Status status = absl::InvalidArgumentError(absl::StrJoin(
      violations, "\n",
      [](std::string* out, const Violation& violation) { out->append(Describe(violation)); }));
  nlohmann::json rows = nlohmann::json::array();
  for (const Violation& violation : violations) {
    rows.push_back({violation.field, violation.rule, violation.value, violation.line});
  }
  // Values come from the user's text, which may not be UTF-8.
  status.SetPayload(
      kPayloadUrl, absl::Cord(rows.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
  return status;
}

std::vector<Violation> ViolationsOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl);
  if (!payload.has_value()) return {};
  const nlohmann::json rows =
      nlohmann::json::parse(std::string(*payload), nullptr, /*allow_exceptions=*/false);
  std::vector<Violation> violations;
  if (!rows.is_array()) return violations;
  for (const nlohmann::json& row : rows) {
    violations.push_back({row[0].get<std::string>(), row[1].get<std::string>(),
                          row[2].get<std::string>(), row[3].get<int>()});
  }
  return violations;
}

}  // namespace sotto::spec
