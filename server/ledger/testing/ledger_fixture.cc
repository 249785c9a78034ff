#include "server/ledger/testing/ledger_fixture.h"

#include <algorithm>

#include "common/base/log.h"
#include "common/crypto/sha256.h"
#include "server/accounting/orders.h"
#include "server/ledger/ledger_schema.h"

namespace sotto::ledger {

using database::Transaction;

v1::Dataset MakeDataset(const std::string& name) {
  v1::Dataset dataset;
  dataset.set_name(name);
  dataset.set_path("/data/" + name + ".tokens");
  dataset.set_sha256(crypto::HexSha256("content of " + name));
  dataset.set_max_records(10000);
  dataset.set_vocabulary_size(256);
  dataset.set_max_length(128);
  dataset.set_budgeted(true);
  dataset.mutable_budget()->set_epsilon(8);
  dataset.mutable_budget()->set_delta(1e-6);
  return dataset;
}

accounting::StepCharge ChargeThatFits(int64_t steps) {
  // The same at every order, so that the roomiest order decides.
  const std::vector<int64_t> capacity = accounting::CapacityOf(8, 1e-6).units;
  accounting::StepCharge charge;
  charge.units.assign(capacity.size(), *std::max_element(capacity.begin(), capacity.end()) / steps);
  return charge;
}

ReservationRequest MakeRequest(const std::string& job, const std::string& dataset, int64_t steps,
                               const accounting::StepCharge& step_charge) {
  ReservationRequest request;
  request.job = job;
  request.dataset = dataset;
  request.charge = UniformCharge(step_charge, steps);
  request.detail = "sigma=1";
  return request;
}

LedgerFixture::LedgerFixture()
    : database_(std::vector<database::Schema>{LedgerSchema()}), ledger_(clock_) {}

absl::Status LedgerFixture::Register(const v1::Dataset& dataset) {
  return Write([&](Transaction& t) { return ledger_.RegisterDataset(t, dataset); });
}

absl::Status LedgerFixture::Reserve(const ReservationRequest& request) {
  return Write([&](Transaction& t) { return ledger_.Reserve(t, request); });
}

absl::Status LedgerFixture::StartAttempt(const std::string& job, int64_t attempt) {
  return Write([&](Transaction& t) { return ledger_.StartAttempt(t, job, attempt); });
}

absl::StatusOr<GrantedSteps> LedgerFixture::Grant(const std::string& job, int64_t attempt,
                                                  int64_t first_step, int64_t end_step) {
  return Write<GrantedSteps>(
      [&](Transaction& t) { return ledger_.CommitGrant(t, job, attempt, first_step, end_step); });
}

absl::StatusOr<int64_t> LedgerFixture::Return(const std::string& job, int64_t attempt,
                                              int64_t started_end) {
  return Write<int64_t>(
      [&](Transaction& t) { return ledger_.ReturnUnstarted(t, job, attempt, started_end); });
}

absl::Status LedgerFixture::Settle(const std::string& job) {
  return Write([&](Transaction& t) { return ledger_.Settle(t, job); });
}

absl::StatusOr<Account> LedgerFixture::GetAccount(const std::string& job) {
  return Write<Account>([&](Transaction& t) { return ledger_.GetAccount(t, job); });
}

absl::StatusOr<v1::Dataset> LedgerFixture::GetDataset(const std::string& name) {
  return Write<v1::Dataset>([&](Transaction& t) { return ledger_.GetDataset(t, name); });
}

absl::StatusOr<v1::VerifyLedgerResponse> LedgerFixture::Verify() {
  return Write<v1::VerifyLedgerResponse>([&](Transaction& t) { return ledger_.Verify(t); });
}

std::vector<v1::LedgerEntry> LedgerFixture::Entries() {
  const absl::StatusOr<EntryPage> page =
      Write<EntryPage>([&](Transaction& t) { return ledger_.ListEntries(t, "", 0, 1'000'000); });
  SOTTO_CHECK(page.ok()) << page.status();
  return page->entries;
}

}  // namespace sotto::ledger
