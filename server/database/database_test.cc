#include "server/database/database.h"

#include <signal.h>
#include <sys/resource.h>

#include <future>
#include <string>
#include <vector>

#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "server/database/testing/test_database.h"

namespace sotto::database {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<Schema> NumbersSchema() {
  return {{"numbers", {"CREATE TABLE numbers (n INTEGER PRIMARY KEY, text TEXT) STRICT"}}};
}

absl::Status Insert(Transaction& transaction, int64_t n) {
  return transaction.Execute("INSERT INTO numbers (n) VALUES (?1)", {n});
}

std::vector<int64_t> Numbers(Database& database) {
  std::vector<int64_t> numbers;
  EXPECT_OK(database.ReadAndWait([&numbers](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<Row> rows,
                     transaction.Query("SELECT n FROM numbers ORDER BY n"));
    for (const Row& row : rows) numbers.push_back(row[0].int64());
    return absl::OkStatus();
  }));
  return numbers;
}

// Keeps the writer busy until it is released, so that what is submitted meanwhile forms one group.
class Gate {
 public:
  explicit Gate(Database& database) {
    database.Submit(
        [this](Transaction&) {
          entered_.set_value();
          release_.get_future().wait();
          return absl::OkStatus();
        },
        [this](absl::Status) { done_.set_value(); });
    entered_.get_future().wait();
  }
  void Release() {
    release_.set_value();
    done_.get_future().wait();
  }

 private:
  std::promise<void> entered_, release_, done_;
};

TEST(DatabaseTest, ValuesOfEveryTypeComeBackAsTheyWere) {
  TestDatabase database(std::vector<Schema>{
      {"all", {"CREATE TABLE a (i INTEGER, r REAL, t TEXT, b BLOB, n TEXT, e BLOB) STRICT"}}});
  const std::string bytes("\0\xff x", 4);
  ASSERT_OK(database->SubmitAndWait([&](Transaction& transaction) {
    return transaction.Execute("INSERT INTO a VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                               {int64_t{-1} << 62, 0.1, "tëxt", Blob{bytes}, Value(), Blob{""}});
  }));
  ASSERT_OK(database->ReadAndWait([&](Transaction& transaction) -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<Row> rows, transaction.Query("SELECT * FROM a"));
    EXPECT_EQ(rows.size(), 1);
    EXPECT_EQ(rows[0][0].int64(), int64_t{-1} << 62);
    EXPECT_EQ(rows[0][1].real(), 0.1);
    EXPECT_EQ(rows[0][2].text(), "tëxt");
    EXPECT_EQ(rows[0][3].blob(), bytes);
    EXPECT_TRUE(rows[0][4].is_null());
    EXPECT_FALSE(rows[0][5].is_null());
    EXPECT_EQ(rows[0][5].blob(), "");
    return absl::OkStatus();
  }));
}

TEST(DatabaseTest, FailedRequestIsUndoneAloneWithinItsGroup) {
  TestDatabase database(NumbersSchema());
  std::vector<std::string> outcomes;
  std::vector<int> callbacks;
  Gate gate(*database);
  for (int n = 1; n <= 3; ++n) {
    database->Submit(
        [n, &callbacks](Transaction& transaction) -> absl::Status {
          transaction.AfterCommit([n, &callbacks] { callbacks.push_back(n); });
          RETURN_IF_ERROR(Insert(transaction, n));
          return n == 2 ? absl::AbortedError("no") : absl::OkStatus();
        },
        [&outcomes](absl::Status status) { outcomes.push_back(status.ToString()); });
  }
  gate.Release();
  ASSERT_OK(database->SubmitAndWait([](Transaction&) { return absl::OkStatus(); }));
  EXPECT_THAT(Numbers(*database), ElementsAre(1, 3));
  EXPECT_THAT(outcomes, ElementsAre("OK", "ABORTED: no", "OK"));
  EXPECT_THAT(callbacks, ElementsAre(1, 3));
}

TEST(DatabaseTest, ReadersSeeNothingBeforeTheCommit) {
  TestDatabase database(NumbersSchema());
  std::vector<int64_t> seen_before;
  ASSERT_OK(database->SubmitAndWait([&](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(Insert(transaction, 1));
    seen_before = Numbers(*database);  // The readers' threads go on while the writer waits here.
    return absl::OkStatus();
  }));
  EXPECT_THAT(seen_before, IsEmpty());
  EXPECT_THAT(Numbers(*database), ElementsAre(1));
}

TEST(DatabaseTest, DoneRunsAfterTheCommitIsVisible) {
  TestDatabase database(NumbersSchema());
  std::promise<std::vector<int64_t>> seen;
  database->Submit([](Transaction& transaction) { return Insert(transaction, 7); },
                   [&](absl::Status status) {
                     EXPECT_OK(status);
                     seen.set_value(Numbers(*database));
                   });
  EXPECT_THAT(seen.get_future().get(), ElementsAre(7));
}

TEST(DatabaseTest, ReaderCannotWrite) {
  TestDatabase database(NumbersSchema());
  EXPECT_THAT(
      database->ReadAndWait([](Transaction& transaction) { return Insert(transaction, 1); }),
      StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(Numbers(*database), IsEmpty());
}

TEST(DatabaseTest, TakenKeyIsAlreadyExistsAndTheRequestMayGoOn) {
  TestDatabase database(NumbersSchema());
  ASSERT_OK(database->SubmitAndWait([](Transaction& transaction) -> absl::Status {
    RETURN_IF_ERROR(Insert(transaction, 1));
    EXPECT_THAT(Insert(transaction, 1), StatusIs(absl::StatusCode::kAlreadyExists));
    return Insert(transaction, 2);
  }));
  EXPECT_THAT(Numbers(*database), ElementsAre(1, 2));
}

TEST(DatabaseTest, StopFinishesWhatIsQueuedAndRefusesTheRest) {
  TestDatabase database(NumbersSchema());
  int committed = 0;
  Gate gate(*database);
  for (int n = 0; n < 20; ++n) {
    database->Submit([n](Transaction& transaction) { return Insert(transaction, n); },
                     [&committed](absl::Status status) { committed += status.ok(); });
  }
  gate.Release();
  database->Stop();
  EXPECT_EQ(committed, 20);
  EXPECT_THAT(database->SubmitAndWait([](Transaction&) { return absl::OkStatus(); }),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("stopping")));
}

TEST(DatabaseTest, FullDatabaseFailsTheRequestAndGoesOn) {
  TestDatabase database(NumbersSchema());
  ASSERT_OK(database->SubmitAndWait([](Transaction& t) { return Insert(t, 1); }));
  const auto fill = [](Transaction& transaction) {
    return transaction.Execute("INSERT INTO numbers VALUES (2, ?1)", {std::string(1 << 20, 'x')});
  };
  const auto limit_pages = [](int64_t pages) {
    return [pages](Transaction& transaction) {
      return transaction.Query("PRAGMA max_page_count = " + std::to_string(pages)).status();
    };
  };
  ASSERT_OK(database->SubmitAndWait(limit_pages(16)));
  EXPECT_THAT(database->SubmitAndWait(fill),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("full")));
  ASSERT_OK(database->SubmitAndWait([](Transaction& t) { return Insert(t, 3); }));
  EXPECT_THAT(Numbers(*database), ElementsAre(1, 3));
  ASSERT_OK(database->SubmitAndWait(limit_pages(1 << 20)));
  ASSERT_OK(database->SubmitAndWait(fill));
  EXPECT_THAT(Numbers(*database), ElementsAre(1, 2, 3));
}

// A write(2) that fails inside COMMIT: the group fails as a whole, and the next one works.
TEST(DatabaseTest, FailedCommitKeepsNothingAndTheWriterGoesOn) {
  TestDatabase database(NumbersSchema());
  ASSERT_OK(database->SubmitAndWait([](Transaction& t) { return Insert(t, 1); }));
  signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  rlimit low_limit = old_limit;
  low_limit.rlim_cur = 64 << 10;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low_limit), 0);
  const absl::Status big = database->SubmitAndWait([](Transaction& transaction) {
    return transaction.Execute("INSERT INTO numbers VALUES (2, ?1)", {std::string(1 << 20, 'x')});
  });
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  EXPECT_THAT(big, StatusIs(absl::StatusCode::kUnavailable));
  ASSERT_OK(database->SubmitAndWait([](Transaction& t) { return Insert(t, 3); }));
  EXPECT_THAT(Numbers(*database), ElementsAre(1, 3));
  database.Reopen();
  EXPECT_THAT(Numbers(*database), ElementsAre(1, 3));
}

TEST(DatabaseTest, ForeignFileIsDataLossAndIsLeftAlone) {
  TestDatabase database(NumbersSchema());
  database.Close();
  const std::string text(10000, 'x');
  ASSERT_OK(AtomicWriteFile(database.path(), text));
  EXPECT_THAT(database.TryReopen(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("backup")));
  EXPECT_THAT(ReadFile(database.path()), IsOkAndHolds(text));
}

TEST(DatabaseTest, OverwrittenPageIsDataLoss) {
  TestDatabase database(NumbersSchema());
  ASSERT_OK(database->SubmitAndWait([](Transaction& transaction) -> absl::Status {
    for (int n = 0; n < 3000; ++n) RETURN_IF_ERROR(Insert(transaction, n));
    return absl::OkStatus();
  }));
  database.Close();
  ASSERT_OK_AND_ASSIGN(std::string contents, ReadFile(database.path()));
  ASSERT_GT(contents.size(), 5 * 4096);
  contents.replace(contents.size() - 2 * 4096, 4096, 4096, '\xa5');
  ASSERT_OK(AtomicWriteFile(database.path(), contents));
  EXPECT_THAT(database.TryReopen(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(DatabaseTest, MissingMigrationsRunOnOpenAndOnlyOnce) {
  TestDatabase database(NumbersSchema());
  ASSERT_OK(database->SubmitAndWait([](Transaction& t) { return Insert(t, 1); }));
  database.Close();
  std::vector<Schema> newer = NumbersSchema();
  newer[0].migrations.push_back(
      "ALTER TABLE numbers ADD COLUMN extra INTEGER DEFAULT 5;"
      "UPDATE numbers SET n = n + 100");
  newer.push_back({"other", {"CREATE TABLE other (n INTEGER)"}});
  for (int times = 0; times < 2; ++times) {
    ASSERT_OK_AND_ASSIGN(auto reopened, Database::Open({database.path(), newer}));
    EXPECT_THAT(Numbers(*reopened), ElementsAre(101));
  }
}

TEST(DatabaseTest, FailedMigrationLeavesTheVersionBefore) {
  TestDatabase database(NumbersSchema());
  ASSERT_OK(database->SubmitAndWait([](Transaction& t) { return Insert(t, 1); }));
  database.Close();
  std::vector<Schema> broken = NumbersSchema();
  broken[0].migrations.push_back("DELETE FROM numbers; INSERT INTO missing VALUES (1)");
  EXPECT_THAT(Database::Open({database.path(), broken}).status(),
              StatusIs(absl::StatusCode::kInternal));
  database.Reopen();
  EXPECT_THAT(Numbers(*database), ElementsAre(1));
}

TEST(DatabaseTest, NewerVersionIsRefused) {
  TestDatabase database(std::vector<Schema>{
      {"numbers", {"CREATE TABLE a (n INTEGER)", "CREATE TABLE b (n INTEGER)"}}});
  database.Close();
  EXPECT_THAT(Database::Open({database.path(), NumbersSchema()}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("version 2")));
}

TEST(DatabaseTest, DatabaseOfAnotherProgramIsRefused) {
  TestDatabase database(NumbersSchema());
  ASSERT_OK(database->SubmitAndWait([](Transaction& transaction) {
    return transaction.Query("PRAGMA application_id = 7").status();
  }));
  EXPECT_THAT(database.TryReopen(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another program")));
}

}  // namespace
}  // namespace sotto::database
