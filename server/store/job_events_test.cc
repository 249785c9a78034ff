#include <future>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status_matchers.h"
#include "server/database/testing/test_database.h"
#include "server/store/job_store_schema.h"
#include "server/store/sqlite_job_store.h"

namespace sotto::store {
namespace {

using ::sotto::database::TestDatabase;
using ::sotto::database::Transaction;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

v1::JobEvent Note(const std::string& text) {
  v1::JobEvent event;
  event.set_note(text);
  return event;
}

v1::JobEvent Report(int64_t attempt, int64_t step) {
  v1::JobEvent event;
  event.mutable_step()->set_attempt(attempt);
  event.mutable_step()->set_step(step);
  return event;
}

class JobEventsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* id : {"job-1", "job-2"}) {
      ASSERT_OK(database_->SubmitAndWait([&](Transaction& transaction) {
        v1::Job job;
        job.set_id(id);
        return store_.CreateJob(transaction, job);
      }));
    }
  }

  absl::StatusOr<int64_t> Append(const std::string& job, const v1::JobEvent& event) {
    int64_t sequence = 0;
    RETURN_IF_ERROR(database_->SubmitAndWait([&](Transaction& transaction) -> absl::Status {
      ASSIGN_OR_RETURN(sequence, store_.AppendEvent(transaction, job, event));
      return absl::OkStatus();
    }));
    return sequence;
  }

  absl::StatusOr<EventPage> Read(const std::string& job, int64_t after, int limit = 100) {
    std::promise<absl::StatusOr<EventPage>> result;
    store_.ReadEvents(job, after, limit,
                      [&](absl::StatusOr<EventPage> page) { result.set_value(std::move(page)); });
    return result.get_future().get();
  }

  absl::Status Compact(int64_t oldest) {
    return database_->SubmitAndWait(
        [&](Transaction& t) { return store_.CompactEvents(t, "job-1", oldest); });
  }

  TestDatabase database_{std::vector<database::Schema>{JobStoreSchema()}};
  SqliteJobStore store_{*database_};
};

std::vector<int64_t> SequencesOf(const EventPage& page) {
  std::vector<int64_t> sequences;
  for (const v1::JobEvent& event : page.events) sequences.push_back(event.sequence());
  return sequences;
}

TEST_F(JobEventsTest, SequencesAreDensePerJob) {
  EXPECT_THAT(Append("job-1", Note("a")), IsOkAndHolds(1));
  EXPECT_THAT(Append("job-2", Note("b")), IsOkAndHolds(1));
  EXPECT_THAT(Append("job-1", Note("c")), IsOkAndHolds(2));
  ASSERT_OK_AND_ASSIGN(const EventPage page, Read("job-1", 0));
  EXPECT_THAT(SequencesOf(page), ElementsAre(1, 2));
  EXPECT_EQ(page.events[1].note(), "c");
  EXPECT_EQ(page.tail_sequence, 2);
}

TEST_F(JobEventsTest, UndoneRequestLeavesNoGapAndWakesNobody) {
  std::vector<int64_t> told;
  const auto handle =
      store_.Listen([&](const std::string&, int64_t tail) { told.push_back(tail); });
  ASSERT_OK(Append("job-1", Note("a")));
  EXPECT_THAT(database_->SubmitAndWait([&](Transaction& transaction) -> absl::Status {
    EXPECT_THAT(store_.AppendEvent(transaction, "job-1", Note("lost")), IsOkAndHolds(2));
    return absl::AbortedError("no");
  }),
              StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(Append("job-1", Note("b")), IsOkAndHolds(2));
  ASSERT_OK_AND_ASSIGN(const EventPage page, Read("job-1", 0));
  EXPECT_THAT(SequencesOf(page), ElementsAre(1, 2));
  EXPECT_THAT(told, ElementsAre(1, 2));
}

TEST_F(JobEventsTest, ListenerIsToldWhenTheEventCanBeRead) {
  std::vector<std::pair<std::string, int64_t>> told;
  std::vector<int64_t> readable;
  auto handle = store_.Listen([&](const std::string& job, int64_t tail) {
    told.emplace_back(job, tail);
    readable.push_back(Read(job, 0)->tail_sequence);
  });
  ASSERT_OK(Append("job-2", Note("a")));
  ASSERT_OK(Append("job-2", Note("b")));
  EXPECT_THAT(told, ElementsAre(Pair("job-2", 1), Pair("job-2", 2)));
  EXPECT_THAT(readable, ElementsAre(1, 2));
  handle = nullptr;
  ASSERT_OK(Append("job-2", Note("c")));
  EXPECT_EQ(told.size(), 2);
}

TEST_F(JobEventsTest, CursorAndLimitCutThePage) {
  for (int i = 0; i < 5; ++i) ASSERT_OK(Append("job-1", Note("x")));
  EXPECT_THAT(SequencesOf(*Read("job-1", 2, 2)), ElementsAre(3, 4));
  EXPECT_THAT(SequencesOf(*Read("job-1", 5)), IsEmpty());
  EXPECT_THAT(SequencesOf(*Read("job-1", 99)), IsEmpty());
  EXPECT_THAT(Read("job-3", 0), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(JobEventsTest, StepIsReportedOncePerAttempt) {
  ASSERT_OK(Append("job-1", Report(1, 7)));
  EXPECT_THAT(Append("job-1", Report(1, 7)), StatusIs(absl::StatusCode::kAlreadyExists));
  ASSERT_OK(Append("job-1", Report(2, 7)));
  ASSERT_OK(Append("job-2", Report(1, 7)));
  EXPECT_THAT(SequencesOf(*Read("job-1", 0)), ElementsAre(1, 2));
}

TEST_F(JobEventsTest, RepeatedReportDoesNotSpoilItsTransaction) {
  ASSERT_OK(Append("job-1", Report(1, 7)));
  ASSERT_OK(database_->SubmitAndWait([&](Transaction& transaction) -> absl::Status {
    EXPECT_THAT(store_.AppendEvent(transaction, "job-1", Report(1, 7)),
                StatusIs(absl::StatusCode::kAlreadyExists));
    EXPECT_THAT(store_.AppendEvent(transaction, "job-1", Report(1, 8)), IsOkAndHolds(2));
    return absl::OkStatus();
  }));
  EXPECT_THAT(SequencesOf(*Read("job-1", 0)), ElementsAre(1, 2));
}

TEST_F(JobEventsTest, CompactionRaisesTheFloorAndNumbersGoOn) {
  for (int i = 0; i < 5; ++i) ASSERT_OK(Append("job-1", Note("x")));
  ASSERT_OK(Compact(4));
  ASSERT_OK_AND_ASSIGN(EventPage page, Read("job-1", 0));
  EXPECT_TRUE(page.compacted);
  EXPECT_EQ(page.oldest_sequence, 4);
  EXPECT_THAT(page.events, IsEmpty());
  ASSERT_OK_AND_ASSIGN(page, Read("job-1", 3));
  EXPECT_FALSE(page.compacted);
  EXPECT_THAT(SequencesOf(page), ElementsAre(4, 5));
  ASSERT_OK(Compact(2));
  EXPECT_EQ(Read("job-1", 3)->oldest_sequence, 4);
  ASSERT_OK(Compact(99));
  EXPECT_THAT(SequencesOf(*Read("job-1", 4)), ElementsAre(5));
  EXPECT_THAT(Append("job-1", Note("y")), IsOkAndHolds(6));
}

TEST_F(JobEventsTest, NumbersGoOnAfterReopening) {
  ASSERT_OK(Append("job-1", Note("a")));
  database_.Reopen();
  SqliteJobStore reopened(*database_);
  ASSERT_OK(database_->SubmitAndWait([&](Transaction& transaction) -> absl::Status {
    EXPECT_THAT(reopened.AppendEvent(transaction, "job-1", Note("b")), IsOkAndHolds(2));
    return absl::OkStatus();
  }));
}

}  // namespace
}  // namespace sotto::store
