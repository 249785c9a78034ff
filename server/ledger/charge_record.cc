#include "server/ledger/charge_record.h"

#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace sotto::ledger {

void RecordCharge(const JobCharge& charge, v1::LedgerEntry& entry) {
  entry.set_truncation_delta(charge.charges[0].truncation_delta);
  entry.set_steps(SumOf(charge.reserved));
  const accounting::Compositions& compositions = charge.compositions;
  if (compositions == accounting::Compositions()) {
    const std::vector<int64_t>& units = charge.charges[0].units;
    entry.mutable_step_charge()->Assign(units.begin(), units.end());
    return;
  }
  entry.set_steps_per_epoch(compositions.steps_per_epoch());
  for (size_t i = 0; i < charge.charges.size(); ++i) {
    v1::ChargeSegment& segment = *entry.add_segments();
    const std::vector<int64_t>& units = charge.charges[i].units;
    segment.set_first_step(compositions.first_steps()[i]);
    segment.mutable_step_charge()->Assign(units.begin(), units.end());
    segment.set_steps(charge.reserved[i]);
  }
}

absl::StatusOr<JobCharge> ChargeOf(const v1::LedgerEntry& entry) {
  accounting::StepCharge step{{}, entry.truncation_delta()};
  if (entry.segments().empty()) {
    step.units.assign(entry.step_charge().begin(), entry.step_charge().end());
    return UniformCharge(step, entry.steps());
  }
  JobCharge charge;
  std::vector<int64_t> first_steps;
  for (const v1::ChargeSegment& segment : entry.segments()) {
    first_steps.push_back(segment.first_step());
    step.units.assign(segment.step_charge().begin(), segment.step_charge().end());
    charge.charges.push_back(step);
    charge.reserved.push_back(segment.steps());
  }
  absl::StatusOr<accounting::Compositions> compositions =
      accounting::Compositions::Create(std::move(first_steps), entry.steps_per_epoch());
  if (!compositions.ok()) return absl::DataLossError(compositions.status().message());
  charge.compositions = *std::move(compositions);
  return charge;
}

std::string RegistrationText(const v1::Dataset& dataset) {
  std::string text = absl::StrCat(
      "path=\"", absl::CEscape(dataset.path()), "\" sha256=", dataset.sha256(),
      " max_records=", dataset.max_records(), " vocabulary_size=", dataset.vocabulary_size(),
      " max_length=", dataset.max_length());
  if (dataset.classes() > 0) absl::StrAppend(&text, " classes=", dataset.classes());
  if (!dataset.image_shape().empty()) {
    absl::StrAppend(&text, " shape=", absl::StrJoin(dataset.image_shape(), "x"));
  }
  if (dataset.targets() > 0) absl::StrAppend(&text, " targets=", dataset.targets());
  if (!dataset.budgeted()) return absl::StrCat(text, " budget=none");
  // 17 digits give a double back exactly.
  return absl::StrCat(text,
                      absl::StrFormat(" epsilon=%.17g delta=%.17g", dataset.budget().epsilon(),
                                      dataset.budget().delta()),
                      " adjacency=", dataset.budget().adjacency(),
                      " privacy_unit=", dataset.budget().privacy_unit());
}

}  // namespace sotto::ledger
