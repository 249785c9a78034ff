#include "server/ledger/budget_refusal.h"

#include <map>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace sotto::ledger {
namespace {

// The payload is lines of "name=value" in this order; 17 digits give a double back exactly.
constexpr char kPayloadType[] = "sotto.v1.BudgetRefusal";

double RealOf(const std::string& text) {
  double value = 0;
  return absl::SimpleAtod(text, &value) ? value : 0;
}

int64_t IntegerOf(const std::string& text) {
  int64_t value = 0;
  return absl::SimpleAtoi(text, &value) ? value : 0;
}

}  // namespace

absl::Status BudgetRefusedError(const BudgetRefusal& refusal) {
  absl::Status status = absl::ResourceExhaustedError(absl::StrFormat(
      "dataset '%s': budget epsilon %.4g at delta %.3g, committed %.4g, reserved %.4g, requested "
      "%.4g (%d steps), together %.4g: over budget; at most %d such steps would be admitted",
      refusal.dataset, refusal.budget_epsilon, refusal.budget_delta, refusal.committed_epsilon,
      refusal.reserved_epsilon, refusal.requested_epsilon, refusal.requested_steps,
      refusal.total_epsilon, refusal.largest_steps));
  status.SetPayload(
      kPayloadType,
      absl::Cord(absl::StrFormat(
          "dataset=%s\nbudget_epsilon=%.17g\nbudget_delta=%.17g\ncommitted_epsilon=%.17g\n"
          "reserved_epsilon=%.17g\nrequested_epsilon=%.17g\ntotal_epsilon=%.17g\n"
          "requested_steps=%d\nlargest_steps=%d",
          refusal.dataset, refusal.budget_epsilon, refusal.budget_delta, refusal.committed_epsilon,
          refusal.reserved_epsilon, refusal.requested_epsilon, refusal.total_epsilon,
          refusal.requested_steps, refusal.largest_steps)));
  return status;
}

std::optional<BudgetRefusal> GetBudgetRefusal(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayloadType);
  if (!payload.has_value()) return std::nullopt;
  std::map<std::string, std::string> fields;
  const std::string text(*payload);
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::pair<std::string, std::string> field = absl::StrSplit(line, absl::MaxSplits('=', 1));
    fields.insert(field);
  }
  BudgetRefusal refusal;
  refusal.dataset = fields["dataset"];
  refusal.budget_epsilon = RealOf(fields["budget_epsilon"]);
  refusal.budget_delta = RealOf(fields["budget_delta"]);
  refusal.committed_epsilon = RealOf(fields["committed_epsilon"]);
  refusal.reserved_epsilon = RealOf(fields["reserved_epsilon"]);
  refusal.requested_epsilon = RealOf(fields["requested_epsilon"]);
  refusal.total_epsilon = RealOf(fields["total_epsilon"]);
  refusal.requested_steps = IntegerOf(fields["requested_steps"]);
  refusal.largest_steps = IntegerOf(fields["largest_steps"]);
  return refusal;
}

}  // namespace sotto::ledger
