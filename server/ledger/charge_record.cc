#include "server/ledger/charge_record.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sotto::ledger {

void RecordCharge(const accounting::StepCharge& charge, v1::LedgerEntry& entry) {
  entry.mutable_step_charge()->Assign(charge.units.begin(), charge.units.end());
  entry.set_truncation_delta(charge.truncation_delta);
}

accounting::StepCharge ChargeOf(const v1::LedgerEntry& entry) {
  accounting::StepCharge charge;
  charge.units.assign(entry.step_charge().begin(), entry.step_charge().end());
  charge.truncation_delta = entry.truncation_delta();
  return charge;
}

std::string RegistrationText(const v1::Dataset& dataset) {
  std::string text = absl::StrCat(
      "path=\"", absl::CEscape(dataset.path()), "\" sha256=", dataset.sha256(),
      " max_records=", dataset.max_records(), " vocabulary_size=", dataset.vocabulary_size(),
      " max_length=", dataset.max_length());
  if (!dataset.budgeted()) return absl::StrCat(text, " budget=none");
  // 17 digits give a double back exactly.
  return absl::StrCat(text,
                      absl::StrFormat(" epsilon=%.17g delta=%.17g", dataset.budget().epsilon(),
                                      dataset.budget().delta()),
                      " adjacency=", dataset.budget().adjacency(),
                      " privacy_unit=", dataset.budget().privacy_unit());
}

}  // namespace sotto::ledger
