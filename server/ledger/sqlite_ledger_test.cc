#include "server/ledger/sqlite_ledger.h"

#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "server/ledger/testing/ledger_fixture.h"

namespace sotto::ledger {
namespace {

using ::sotto::database::Transaction;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class LedgerTest : public ::testing::Test, protected LedgerFixture {
 protected:
  // A dataset "d" with room for 100 steps of charge_, of which job-1 has reserved 60 and started
  // attempt 1.
  void Admit() {
    ASSERT_OK(Register(MakeDataset("d")));
    ASSERT_OK(Reserve(MakeRequest("job-1", "d", 60, charge_)));
    ASSERT_OK(StartAttempt("job-1", 1));
  }

  std::vector<v1::LedgerEntry::Kind> Kinds() {
    std::vector<v1::LedgerEntry::Kind> kinds;
    for (const v1::LedgerEntry& entry : Entries()) kinds.push_back(entry.kind());
    return kinds;
  }

  const accounting::StepCharge charge_ = ChargeThatFits(100);
};

TEST_F(LedgerTest, ReservationsUpToTheBudgetAreAdmittedAndNoStepMore) {
  ASSERT_OK(Register(MakeDataset("d")));
  ASSERT_OK(Reserve(MakeRequest("job-1", "d", 60, charge_)));
  EXPECT_THAT(Reserve(MakeRequest("job-2", "d", 41, charge_)),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_OK(Reserve(MakeRequest("job-2", "d", 40, charge_)));
  EXPECT_THAT(Reserve(MakeRequest("job-3", "d", 1, charge_)),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_OK(Verify());
}

TEST_F(LedgerTest, RefusalCarriesTheNumbers) {
  Admit();
  ASSERT_OK(Grant("job-1", 1, 0, 20));
  const absl::Status refused = Reserve(MakeRequest("job-2", "d", 50, charge_));
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted,
                                AllOf(HasSubstr("'d'"), HasSubstr("epsilon 8"),
                                      HasSubstr("50 steps"), HasSubstr("at most 40"))));
  const std::optional<BudgetRefusal> refusal = GetBudgetRefusal(refused);
  ASSERT_TRUE(refusal.has_value());
  ASSERT_OK_AND_ASSIGN(const v1::Dataset dataset, GetDataset("d"));
  EXPECT_EQ(refusal->dataset, "d");
  EXPECT_EQ(refusal->budget_epsilon, 8);
  EXPECT_EQ(refusal->budget_delta, 1e-6);
  EXPECT_EQ(refusal->committed_epsilon, dataset.spent_epsilon());
  EXPECT_EQ(refusal->reserved_epsilon, dataset.reserved_epsilon());
  EXPECT_GT(refusal->reserved_epsilon, refusal->committed_epsilon);
  EXPECT_GT(refusal->total_epsilon, 8);
  EXPECT_EQ(refusal->requested_steps, 50);
  EXPECT_EQ(refusal->largest_steps, 40);
  EXPECT_EQ(GetBudgetRefusal(absl::ResourceExhaustedError("other")), std::nullopt);
}

TEST_F(LedgerTest, RefusalIsRecordedAndMovesNothing) {
  Admit();
  const ReservationRequest request = MakeRequest("job-2", "d", 50, charge_);
  ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
    const absl::Status refused = ledger().Reserve(transaction, request);
    EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));
    return ledger().RecordRefusal(transaction, request, refused);
  }));
  EXPECT_THAT(Entries().back().detail(), AllOf(HasSubstr("sigma=1"), HasSubstr("over budget")));
  EXPECT_EQ(Entries().back().kind(), v1::LedgerEntry::REFUSED);
  EXPECT_EQ(Entries().back().steps(), 50);
  EXPECT_OK(Reserve(MakeRequest("job-2", "d", 40, charge_)));
  EXPECT_OK(Verify());
}

TEST_F(LedgerTest, CheckReserveAnswersAsReserveAndWritesNothing) {
  Admit();
  const size_t rows = Entries().size();
  const auto check = [&](int64_t steps) {
    return Write([&, steps](Transaction& t) {
      return ledger().CheckReserve(t, MakeRequest("job-2", "d", steps, charge_));
    });
  };
  EXPECT_OK(check(40));
  EXPECT_THAT(check(41), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(Entries().size(), rows);
  EXPECT_OK(Reserve(MakeRequest("job-2", "d", 40, charge_)));
}

TEST_F(LedgerTest, ChargesThatAreNoChargesAreRefused) {
  ASSERT_OK(Register(MakeDataset("d")));
  accounting::StepCharge free = charge_;
  free.units[3] = 0;
  accounting::StepCharge negative = charge_;
  negative.units[0] = -5;
  accounting::StepCharge truncated = charge_;
  truncated.units.pop_back();
  accounting::StepCharge bad_delta = charge_;
  bad_delta.truncation_delta = -1e-9;
  for (const accounting::StepCharge& charge :
       {accounting::StepCharge(), free, negative, truncated, bad_delta}) {
    EXPECT_THAT(Reserve(MakeRequest("job-1", "d", 1, charge)),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(Reserve(MakeRequest("job-1", "d", 0, charge_)),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Reserve(MakeRequest("job-1", "e", 1, charge_)),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("'e'")));
}

TEST_F(LedgerTest, TruncationSharesAddUpToTheirOwnLimit) {
  ASSERT_OK(Register(MakeDataset("d")));
  accounting::StepCharge charge = ChargeThatFits(1000);
  charge.truncation_delta = 1e-10;  // 0.01 delta is 1e-8: room for just under 100 steps.
  EXPECT_THAT(Reserve(MakeRequest("job-1", "d", 101, charge)),
              StatusIs(absl::StatusCode::kResourceExhausted));
  ASSERT_OK(Reserve(MakeRequest("job-1", "d", 90, charge)));
  EXPECT_THAT(Reserve(MakeRequest("job-2", "d", 11, charge)),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_OK(Reserve(MakeRequest("job-2", "d", 9, charge)));
}

TEST_F(LedgerTest, JobHasOneAccount) {
  Admit();
  EXPECT_THAT(Reserve(MakeRequest("job-1", "d", 1, charge_)),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("job-1")));
}

TEST_F(LedgerTest, StewardOverrideIsRecordedAndCostsNothing) {
  ASSERT_OK(Register(MakeDataset("d")));
  ReservationRequest request = MakeRequest("job-1", "d", 1000, accounting::StepCharge());
  request.steward_override = true;
  ASSERT_OK(Reserve(request));
  EXPECT_THAT(Kinds(), ElementsAre(v1::LedgerEntry::DATASET_REGISTERED,
                                   v1::LedgerEntry::STEWARD_OVERRIDE, v1::LedgerEntry::RESERVED));
  EXPECT_EQ(GetDataset("d")->reserved_epsilon(), 0);
  EXPECT_OK(Reserve(MakeRequest("job-2", "d", 100, charge_)));
}

TEST_F(LedgerTest, DataWithoutABudgetAdmitsEverythingAndStillGrants) {
  v1::Dataset dataset = MakeDataset("public");
  dataset.set_budgeted(false);
  dataset.clear_budget();
  ASSERT_OK(Register(dataset));
  ASSERT_OK(Reserve(MakeRequest("job-1", "public", 1'000'000, accounting::StepCharge())));
  ASSERT_OK(StartAttempt("job-1", 1));
  EXPECT_THAT(Grant("job-1", 1, 0, 50), IsOkAndHolds(GrantedSteps{0, 50}));
  EXPECT_EQ(GetDataset("public")->spent_epsilon(), 0);
  EXPECT_OK(Verify());
}

TEST_F(LedgerTest, GrantsCommitUntilTheReservationIsUsedUp) {
  Admit();
  EXPECT_THAT(Grant("job-1", 1, 0, 25), IsOkAndHolds(GrantedSteps{0, 25}));
  EXPECT_EQ(GetAccount("job-1")->committed, 25);
  EXPECT_THAT(Grant("job-1", 1, 25, 50), IsOkAndHolds(GrantedSteps{25, 50}));
  EXPECT_THAT(Grant("job-1", 1, 50, 75), IsOkAndHolds(GrantedSteps{50, 60}));
  const size_t rows = Entries().size();
  EXPECT_THAT(Grant("job-1", 1, 60, 75), IsOkAndHolds(GrantedSteps{60, 60}));
  EXPECT_EQ(Entries().size(), rows);
  EXPECT_EQ(GetAccount("job-1")->committed, 60);
}

TEST_F(LedgerTest, RepeatedGrantRequestIsAnsweredAndNotCharged) {
  Admit();
  ASSERT_OK(Grant("job-1", 1, 0, 25));
  EXPECT_THAT(Grant("job-1", 1, 0, 25), IsOkAndHolds(GrantedSteps{0, 25}));
  EXPECT_THAT(Grant("job-1", 1, 0, 10), IsOkAndHolds(GrantedSteps{0, 25}));
  EXPECT_EQ(GetAccount("job-1")->committed, 25);
  EXPECT_THAT(Write<std::vector<GrantedSteps>>(
                  [&](Transaction& t) { return ledger().ListGrants(t, "job-1", 1); }),
              IsOkAndHolds(ElementsAre(GrantedSteps{0, 25})));
}

TEST_F(LedgerTest, GrantsWithGapsOrOverlapsAreRefused) {
  Admit();
  ASSERT_OK(Grant("job-1", 1, 4, 10));  // From a checkpoint: any first step.
  for (const GrantedSteps& range :
       std::vector<GrantedSteps>{{9, 12}, {11, 12}, {10, 10}, {10, 9}, {-1, 3}, {0, 4}}) {
    EXPECT_THAT(Grant("job-1", 1, range.first_step, range.end_step),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << range.first_step;
  }
  EXPECT_EQ(GetAccount("job-1")->committed, 6);
}

TEST_F(LedgerTest, OlderAttemptIsFencedAndTheNewerPaysAgain) {
  Admit();
  ASSERT_OK(Grant("job-1", 1, 0, 25));
  ASSERT_OK(StartAttempt("job-1", 2));
  EXPECT_THAT(Grant("job-1", 1, 25, 30), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Grant("job-1", 1, 0, 25), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Return("job-1", 1, 5), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(StartAttempt("job-1", 1), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Grant("job-1", 3, 0, 5),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("never started")));
  EXPECT_OK(StartAttempt("job-1", 2));
  EXPECT_THAT(Grant("job-1", 2, 20, 40), IsOkAndHolds(GrantedSteps{20, 40}));
  EXPECT_EQ(GetAccount("job-1")->committed, 45);
  EXPECT_OK(Verify());
}

TEST_F(LedgerTest, OnlyNeverStartedStepsComeBack) {
  Admit();
  ASSERT_OK(Grant("job-1", 1, 10, 20));
  ASSERT_OK(Grant("job-1", 1, 20, 30));
  EXPECT_THAT(Return("job-1", 1, 17), IsOkAndHolds(13));
  EXPECT_EQ(GetAccount("job-1")->committed, 7);
  EXPECT_EQ(Entries().back().first_step(), 17);
  EXPECT_EQ(Entries().back().end_step(), 30);
  EXPECT_THAT(Return("job-1", 1, 10), IsOkAndHolds(13));  // The first answer.
  EXPECT_EQ(GetAccount("job-1")->committed, 7);
  EXPECT_THAT(Grant("job-1", 1, 30, 31), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Grant("job-1", 1, 20, 30), StatusIs(absl::StatusCode::kFailedPrecondition));
  ASSERT_OK(StartAttempt("job-1", 2));
  EXPECT_THAT(Grant("job-1", 2, 17, 100), IsOkAndHolds(GrantedSteps{17, 70}));
  EXPECT_OK(Verify());
}

TEST_F(LedgerTest, ReturnIsBoundedByWhatTheAttemptWasGranted) {
  Admit();
  EXPECT_THAT(Return("job-1", 1, -1), StatusIs(absl::StatusCode::kInvalidArgument));
  ASSERT_OK(Grant("job-1", 1, 0, 10));
  ASSERT_OK(StartAttempt("job-1", 2));
  ASSERT_OK(Grant("job-1", 2, 8, 12));
  EXPECT_THAT(Return("job-1", 2, 0), IsOkAndHolds(4));  // Not attempt 1's steps.
  EXPECT_EQ(GetAccount("job-1")->committed, 10);
  ASSERT_OK(StartAttempt("job-1", 3));
  EXPECT_THAT(Return("job-1", 3, 0), IsOkAndHolds(0));  // Nothing was granted.
  ASSERT_OK(StartAttempt("job-1", 4));
  ASSERT_OK(Grant("job-1", 4, 8, 12));
  EXPECT_THAT(Return("job-1", 4, 99), IsOkAndHolds(0));
  EXPECT_EQ(GetAccount("job-1")->committed, 14);
  EXPECT_OK(Verify());
}

TEST_F(LedgerTest, SettlingReleasesTheRestOnceAndEndsTheAccount) {
  Admit();
  ASSERT_OK(Grant("job-1", 1, 0, 25));
  ASSERT_OK(Settle("job-1"));
  ASSERT_OK(Settle("job-1"));
  ASSERT_OK_AND_ASSIGN(const Account account, GetAccount("job-1"));
  EXPECT_EQ(account.committed, 25);
  EXPECT_EQ(account.released, 35);
  EXPECT_TRUE(account.settled);
  EXPECT_THAT(Grant("job-1", 1, 25, 30), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Return("job-1", 1, 0), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(StartAttempt("job-1", 2), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Reserve(MakeRequest("job-2", "d", 76, charge_)),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("at most 75")));
  EXPECT_OK(Reserve(MakeRequest("job-2", "d", 75, charge_)));
  EXPECT_OK(Verify());
}

TEST_F(LedgerTest, FailedRequestChargesNothing) {
  Admit();
  EXPECT_THAT(Write([&](Transaction& transaction) -> absl::Status {
                EXPECT_OK(ledger().CommitGrant(transaction, "job-1", 1, 0, 25));
                return absl::UnavailableError("later in the same transaction");
              }),
              StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(GetAccount("job-1")->committed, 0);
  EXPECT_THAT(Grant("job-1", 1, 0, 10), IsOkAndHolds(GrantedSteps{0, 10}));
  EXPECT_OK(Verify());
}

TEST_F(LedgerTest, ReopeningLowersNothing) {
  Admit();
  ASSERT_OK(Grant("job-1", 1, 0, 25));
  database().Reopen();
  ASSERT_OK_AND_ASSIGN(const Account account, GetAccount("job-1"));
  EXPECT_EQ(account.committed, 25);
  EXPECT_EQ(account.attempt, 1);
  EXPECT_THAT(Grant("job-1", 1, 0, 25), IsOkAndHolds(GrantedSteps{0, 25}));
  EXPECT_THAT(Grant("job-1", 1, 25, 30), IsOkAndHolds(GrantedSteps{25, 30}));
  EXPECT_OK(Verify());
}

TEST_F(LedgerTest, SameNameOrSameContentIsRegisteredOnce) {
  ASSERT_OK(Register(MakeDataset("d")));
  v1::Dataset same_name = MakeDataset("e");
  same_name.set_name("d");
  EXPECT_THAT(Register(same_name), StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("'d'")));
  v1::Dataset same_content = MakeDataset("d");
  same_content.set_name("f");
  same_content.set_path("/elsewhere");
  EXPECT_THAT(Register(same_content), StatusIs(absl::StatusCode::kAlreadyExists,
                                               AllOf(HasSubstr("same content"), HasSubstr("'d'"))));
  EXPECT_THAT(GetDataset("f"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(Entries().size(), 1);
}

TEST_F(LedgerTest, ContentIsFoundByItsHash) {
  ASSERT_OK(Register(MakeDataset("d")));
  const auto find = [&](const std::string& sha256) {
    return *Write<std::optional<std::string>>(
        [&](Transaction& t) { return ledger().FindContent(t, sha256); });
  };
  EXPECT_EQ(find(MakeDataset("d").sha256()), "d");
  EXPECT_EQ(find(MakeDataset("e").sha256()), std::nullopt);
}

TEST_F(LedgerTest, RegistrationNamesEveryViolatedRule) {
  v1::Dataset dataset = MakeDataset("d");
  dataset.set_name("Not a name");
  dataset.set_path("relative");
  dataset.set_sha256("abc");
  dataset.set_max_records(0);
  dataset.mutable_budget()->set_epsilon(-1);
  dataset.mutable_budget()->set_delta(1);
  dataset.mutable_budget()->set_adjacency("swap_two");
  dataset.mutable_budget()->set_privacy_unit("user");
  EXPECT_THAT(
      Register(dataset),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("name must"), HasSubstr("path must"), HasSubstr("sha256 must"),
                     HasSubstr("max_records must"), HasSubstr("but is -1"), HasSubstr("delta must"),
                     HasSubstr("replace_one"), HasSubstr("user"))));
  EXPECT_THAT(Entries(), IsEmpty());
}

TEST_F(LedgerTest, BudgetTooSmallForAnyChargeIsRefused) {
  v1::Dataset dataset = MakeDataset("d");
  dataset.mutable_budget()->set_epsilon(1e-4);
  EXPECT_THAT(Register(dataset),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("too small")));
}

TEST_F(LedgerTest, DatasetsAreListedByNameWithTheirBalances) {
  for (const char* name : {"c", "a", "b"}) ASSERT_OK(Register(MakeDataset(name)));
  ASSERT_OK(Reserve(MakeRequest("job-1", "b", 60, charge_)));
  const auto list = [&](const std::string& after, int limit) {
    return *Write<std::vector<v1::Dataset>>(
        [&](Transaction& t) { return ledger().ListDatasets(t, after, limit); });
  };
  const std::vector<v1::Dataset> first = list("", 2);
  ASSERT_EQ(first.size(), 2);
  EXPECT_EQ(first[0].name(), "a");
  EXPECT_EQ(first[0].reserved_epsilon(), 0);
  EXPECT_EQ(first[0].left_epsilon(), 8);
  EXPECT_EQ(first[0].budget().adjacency(), "add_or_remove_one");
  EXPECT_EQ(first[1].name(), "b");
  EXPECT_GT(first[1].reserved_epsilon(), 0);
  EXPECT_EQ(first[1].spent_epsilon(), 0);
  EXPECT_EQ(first[1].left_epsilon(), 8 - first[1].reserved_epsilon());
  ASSERT_EQ(list("b", 2).size(), 1);
}

TEST_F(LedgerTest, EntriesArePagedPerDatasetWithTheirHashes) {
  ASSERT_OK(Register(MakeDataset("d")));
  ASSERT_OK(Register(MakeDataset("e")));
  for (int i = 1; i <= 3; ++i) {
    ASSERT_OK(Reserve(MakeRequest("job-" + std::to_string(i), "d", 1, charge_)));
  }
  const auto list = [&](int64_t after, int limit) {
    return *Write<EntryPage>(
        [&](Transaction& t) { return ledger().ListEntries(t, "d", after, limit); });
  };
  const EntryPage first = list(0, 2);
  ASSERT_EQ(first.entries.size(), 2);
  EXPECT_EQ(first.entries[0].row(), 1);
  EXPECT_EQ(first.entries[0].previous_hash(), std::string(64, '0'));
  EXPECT_EQ(first.entries[1].row(), 3);  // Row 2 is e's.
  EXPECT_EQ(first.next_after_row, 3);
  const EntryPage second = list(first.next_after_row, 2);
  ASSERT_EQ(second.entries.size(), 2);
  EXPECT_EQ(second.entries[0].previous_hash(), first.entries[1].hash());
  EXPECT_EQ(second.next_after_row, 0);
  EXPECT_EQ(Verify()->head_hash(), second.entries[1].hash());
}

TEST_F(LedgerTest, StewardViewIsRecorded) {
  Admit();
  ASSERT_OK(Write([&](Transaction& t) { return ledger().RecordStewardView(t, "job-1", "logs"); }));
  EXPECT_EQ(Entries().back().kind(), v1::LedgerEntry::STEWARD_VIEW);
  EXPECT_EQ(Entries().back().detail(), "logs");
  EXPECT_EQ(Entries().back().dataset(), "d");
  EXPECT_THAT(Write([&](Transaction& t) { return ledger().RecordStewardView(t, "job-9", "x"); }),
              StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace sotto::ledger
