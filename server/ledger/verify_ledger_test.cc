#include "server/ledger/verify_ledger.h"

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/crypto/sha256.h"
#include "server/ledger/testing/ledger_fixture.h"

namespace sotto::ledger {
namespace {

using ::sotto::database::Blob;
using ::sotto::database::Row;
using ::sotto::database::Transaction;
using ::testing::HasSubstr;

// Rows: 1 registers "d" (room for 100 steps), 2 reserves 60 for job-1, 3 to 5 grant 10 each to
// attempt 1, 6 returns 4, 7 grants 5 to attempt 2, 8 releases the rest, 9 reserves for job-2.
class VerifyLedgerTest : public ::testing::Test, protected LedgerFixture {
 protected:
  void SetUp() override {
    ASSERT_OK(Register(MakeDataset("d")));
    ASSERT_OK(Reserve(MakeRequest("job-1", "d", 60, charge_)));
    ASSERT_OK(StartAttempt("job-1", 1));
    for (int i = 0; i < 3; ++i) ASSERT_OK(Grant("job-1", 1, 10 * i, 10 * i + 10));
    ASSERT_OK(Return("job-1", 1, 26));
    ASSERT_OK(StartAttempt("job-1", 2));
    ASSERT_OK(Grant("job-1", 2, 20, 25));
    ASSERT_OK(Settle("job-1"));
    ASSERT_OK(Reserve(MakeRequest("job-2", "d", 69, charge_)));
    ASSERT_OK(Verify());
  }

  // What someone with a pen in the file would do.
  void Tamper(const std::vector<std::string>& statements) {
    ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(DropTriggers(transaction));
      for (const std::string& statement : statements) {
        RETURN_IF_ERROR(transaction.Query(statement).status());
      }
      return absl::OkStatus();
    }));
  }

  // Rewrites a row's entry; with `rehash`, the hashes from there on are made to match.
  void Edit(int64_t row, const std::function<void(v1::LedgerEntry&)>& edit, bool rehash) {
    ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
      RETURN_IF_ERROR(DropTriggers(transaction));
      ASSIGN_OR_RETURN(const std::vector<Row> rows,
                       transaction.Query("SELECT entry FROM entries WHERE row = ?1", {row}));
      v1::LedgerEntry entry;
      entry.ParseFromString(rows.at(0)[0].blob());
      edit(entry);
      RETURN_IF_ERROR(transaction.Execute("UPDATE entries SET entry = ?2 WHERE row = ?1",
                                          {row, Blob{entry.SerializeAsString()}}));
      return rehash ? Rehash(transaction) : absl::OkStatus();
    }));
  }

  static absl::Status DropTriggers(Transaction& transaction) {
    RETURN_IF_ERROR(transaction.Execute("DROP TRIGGER IF EXISTS entries_are_not_changed"));
    return transaction.Execute("DROP TRIGGER IF EXISTS entries_are_not_deleted");
  }

  static absl::Status Rehash(Transaction& transaction) {
    ASSIGN_OR_RETURN(const std::vector<Row> rows,
                     transaction.Query("SELECT row, entry FROM entries ORDER BY row"));
    std::string hash(32, '\0');
    for (const Row& row : rows) {
      const crypto::Sha256Digest digest = crypto::Sha256Of(hash + row[1].blob());
      hash.assign(digest.begin(), digest.end());
      RETURN_IF_ERROR(
          transaction.Execute("UPDATE entries SET hash = ?2 WHERE row = ?1", {row[0], Blob{hash}}));
    }
    return transaction.Execute("UPDATE head SET rows = ?1, hash = ?2",
                               {static_cast<int64_t>(rows.size()), Blob{hash}});
  }

  void ExpectDataLoss(const std::string& text) {
    EXPECT_THAT(Verify(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr(text)));
  }

  const accounting::StepCharge charge_ = ChargeThatFits(100);
};

TEST_F(VerifyLedgerTest, GoodLedgerGivesItsHeadAndBalances) {
  ASSERT_OK_AND_ASSIGN(const v1::VerifyLedgerResponse response, Verify());
  EXPECT_EQ(response.rows(), 9);
  EXPECT_EQ(response.head_hash(), Entries().back().hash());
  ASSERT_EQ(response.datasets_size(), 1);
  EXPECT_EQ(response.datasets(0).SerializeAsString(), GetDataset("d")->SerializeAsString());
  EXPECT_GT(response.datasets(0).spent_epsilon(), 0);
}

TEST_F(VerifyLedgerTest, RowsCannotBeChangedOrDeletedByStatements) {
  for (const char* statement :
       {"UPDATE entries SET dataset = 'e'", "DELETE FROM entries WHERE row = 9"}) {
    EXPECT_THAT(Write([&](Transaction& t) { return t.Execute(statement); }),
                StatusIs(absl::StatusCode::kInternal, HasSubstr("append-only")));
  }
  EXPECT_OK(Verify());
}

TEST_F(VerifyLedgerTest, EditedRowIsNamed) {
  Edit(
      4, [](v1::LedgerEntry& entry) { entry.set_detail("harmless"); }, /*rehash=*/false);
  ExpectDataLoss("row 4");
}

TEST_F(VerifyLedgerTest, EditedRowWithItsOwnHashMadeToMatchShowsInTheNext) {
  Edit(
      4, [](v1::LedgerEntry& entry) { entry.set_detail("harmless"); }, /*rehash=*/false);
  ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(
        const std::vector<Row> rows,
        transaction.Query("SELECT (SELECT hash FROM entries WHERE row = 3), entry FROM entries "
                          "WHERE row = 4"));
    const crypto::Sha256Digest digest =
        crypto::Sha256Of(rows.at(0)[0].blob() + rows.at(0)[1].blob());
    return transaction.Execute("UPDATE entries SET hash = ?1 WHERE row = 4",
                               {Blob{std::string(digest.begin(), digest.end())}});
  }));
  ExpectDataLoss("row 5");
}

TEST_F(VerifyLedgerTest, EditedDatasetColumnIsNamed) {
  Tamper({"UPDATE entries SET dataset = 'e' WHERE row = 3"});
  ExpectDataLoss("row 3");
}

TEST_F(VerifyLedgerTest, DeletedRowIsNamed) {
  Tamper({"DELETE FROM entries WHERE row = 5"});
  ExpectDataLoss("row 5: is missing");
}

TEST_F(VerifyLedgerTest, DeletedRowWithTheOthersMovedUpIsNamed) {
  Tamper({"DELETE FROM entries WHERE row = 5", "UPDATE entries SET row = 5 WHERE row = 6",
          "UPDATE entries SET row = 6 WHERE row = 7", "UPDATE entries SET row = 7 WHERE row = 8",
          "UPDATE entries SET row = 8 WHERE row = 9", "UPDATE head SET rows = 8"});
  ExpectDataLoss("row 5");
}

TEST_F(VerifyLedgerTest, CutOffEndIsNamedAndNothingIsAppended) {
  Tamper({"DELETE FROM entries WHERE row = 9"});
  ExpectDataLoss("row 9: is missing");
  EXPECT_THAT(Settle("job-2"), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("row 9")));
}

TEST_F(VerifyLedgerTest, CutOffEndWithTheHeadMadeToMatchShowsInTheAccounts) {
  Tamper({"DELETE FROM entries WHERE row = 9",
          "UPDATE head SET rows = 8, hash = (SELECT hash FROM entries WHERE row = 8)"});
  ExpectDataLoss("job-2");
}

TEST_F(VerifyLedgerTest, ReorderedRowsAreNamed) {
  Tamper({"UPDATE entries SET row = 100 WHERE row = 3", "UPDATE entries SET row = 3 WHERE row = 4",
          "UPDATE entries SET row = 4 WHERE row = 100"});
  ExpectDataLoss("row 3: holds the entry of row 4");
}

TEST_F(VerifyLedgerTest, InsertedRowIsNamed) {
  Tamper({"INSERT INTO entries SELECT 10, dataset, entry, hash FROM entries WHERE row = 9"});
  ExpectDataLoss("row 10");
}

TEST_F(VerifyLedgerTest, ChangedBalanceIsNamed) {
  Tamper({"UPDATE accounts SET committed = committed - 1 WHERE job = 'job-1'"});
  ExpectDataLoss("job-1 has committed 30, but its rows add up to 31");
}

TEST_F(VerifyLedgerTest, ChangedReservationIsNamed) {
  Tamper({"UPDATE accounts SET reserved = 1000 WHERE job = 'job-2'"});
  ExpectDataLoss("job-2 has reserved 1000");
}

TEST_F(VerifyLedgerTest, ChangedChargeIsNamed) {
  Tamper({"UPDATE accounts SET charge = x'' WHERE job = 'job-2'"});
  ExpectDataLoss("job-2 has another step charge");
}

TEST_F(VerifyLedgerTest, ReopenedAccountIsNamed) {
  Tamper({"UPDATE accounts SET settled = 0 WHERE job = 'job-1'"});
  ExpectDataLoss("job-1 has settled 0");
}

TEST_F(VerifyLedgerTest, DeletedAccountIsNamed) {
  Tamper({"DELETE FROM accounts WHERE job = 'job-2'"});
  ExpectDataLoss("2 accounts, but 1");
}

TEST_F(VerifyLedgerTest, ForgottenAndInventedGrantsShow) {
  Tamper({"DELETE FROM grants WHERE attempt = 1 AND first_step = 10"});
  ExpectDataLoss("grants of attempt 1 of job-1");
  Tamper({"INSERT INTO grants VALUES ('job-1', 1, 10, 20), ('job-1', 9, 0, 5)"});
  ExpectDataLoss("in no row");
}

TEST_F(VerifyLedgerTest, RaisedBudgetShows) {
  ASSERT_OK(Write([&](Transaction& transaction) -> absl::Status {
    v1::Dataset dataset = MakeDataset("d");
    dataset.mutable_budget()->set_epsilon(80);
    return transaction.Execute("UPDATE datasets SET dataset = ?1",
                               {Blob{dataset.SerializeAsString()}});
  }));
  ExpectDataLoss("budget was edited");
}

// Whoever can rewrite all hashes still has to obey the rules.
TEST_F(VerifyLedgerTest, RewrittenChainThatBreaksARuleIsNamed) {
  struct Case {
    int64_t row;
    std::function<void(v1::LedgerEntry&)> edit;
    std::string rule;
  };
  const std::vector<Case> cases = {
      {9, [](v1::LedgerEntry& e) { e.set_steps(70); }, "row 9 (RESERVED of job-2): overdraws"},
      {9, [](v1::LedgerEntry& e) { e.set_job("job-1"); }, "reserved twice"},
      {8, [](v1::LedgerEntry& e) { e.set_steps(30); }, "row 8 (RELEASED of job-1): releases 30"},
      {7, [](v1::LedgerEntry& e) { e.set_attempt(1); }, "had returned its steps"},
      {7, [](v1::LedgerEntry& e) { e.set_steps(4); }, "its range costs 5"},
      {6, [](v1::LedgerEntry& e) { e.set_attempt(3); }, "nothing was granted"},
      {6, [](v1::LedgerEntry& e) { e.set_first_step(20); }, "were not granted"},
      {5, [](v1::LedgerEntry& e) { e.set_first_step(21); }, "does not continue"},
      {3, [](v1::LedgerEntry& e) { e.set_job("job-7"); }, "nothing was reserved"},
      {2, [](v1::LedgerEntry& e) { e.set_steps(12); }, "exceeds the reservation"},
      {1, [](v1::LedgerEntry& e) { e.set_kind(v1::LedgerEntry::REFUSED); }, "not registered"},
  };
  for (const Case& test : cases) {
    v1::LedgerEntry original;
    Edit(
        test.row,
        [&](v1::LedgerEntry& entry) {
          original = entry;
          test.edit(entry);
        },
        /*rehash=*/true);
    ExpectDataLoss(test.rule);
    Edit(
        test.row, [&](v1::LedgerEntry& entry) { entry = original; }, /*rehash=*/true);
    ASSERT_OK(Verify()) << test.rule;
  }
}

}  // namespace
}  // namespace sotto::ledger
