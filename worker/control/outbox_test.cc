#include "worker/control/outbox.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace sotto::control {
namespace {

v1::WorkerMessage MakeReport(int64_t step) {
  v1::WorkerMessage message;
  message.mutable_report()->set_step(step);
  return message;
}

v1::WorkerMessage MakeNote(const std::string& text) {
  v1::WorkerMessage message;
  message.mutable_note()->set_text(text);
  return message;
}

// Everything that would be sent now, as words.
std::string Drain(Outbox& outbox) {
  std::string sent;
  while (auto message = outbox.Take()) {
    if (message->has_report()) absl::StrAppend(&sent, "r", message->report().step(), " ");
    if (message->has_note()) absl::StrAppend(&sent, message->note().text(), " ");
    if (message->has_grant_request()) {
      absl::StrAppend(&sent, "g", message->grant_request().first_step(), " ");
    }
    if (message->has_finished()) absl::StrAppend(&sent, "f ");
  }
  EXPECT_FALSE(outbox.HasNext());
  return sent;
}

TEST(OutboxTest, MessagesLeaveOnceAStreamInOrder) {
  Outbox outbox;
  outbox.Add(MakeReport(0));
  outbox.Add(MakeNote("a"));
  EXPECT_EQ(Drain(outbox), "r0 a ");
  outbox.Add(MakeReport(1));
  EXPECT_EQ(Drain(outbox), "r1 ");
}

TEST(OutboxTest, ANewStreamSendsWhatWasNotAcknowledged) {
  Outbox outbox;
  outbox.Add(MakeNote("a"));
  outbox.Add(MakeReport(0));
  outbox.Add(MakeNote("b"));
  outbox.Add(MakeReport(1));
  EXPECT_EQ(Drain(outbox), "a r0 b r1 ");
  outbox.Acknowledge(0);
  EXPECT_FALSE(outbox.HasNext());
  outbox.Rewind();
  EXPECT_EQ(Drain(outbox), "b r1 ");
}

TEST(OutboxTest, AcknowledgingInTheMiddleOfAStreamSkipsNothing) {
  Outbox outbox;
  outbox.Add(MakeReport(0));
  outbox.Add(MakeReport(1));
  EXPECT_EQ(outbox.Take()->report().step(), 0);
  outbox.Acknowledge(0);
  EXPECT_EQ(Drain(outbox), "r1 ");
  outbox.Acknowledge(5);
  outbox.Rewind();
  EXPECT_EQ(Drain(outbox), "");
}

TEST(OutboxTest, ARequestIsRepeatedUntilAGrantCoversIt) {
  Outbox outbox;
  v1::GrantRequest request;
  request.set_first_step(10);
  outbox.Request(request);
  EXPECT_EQ(Drain(outbox), "g10 ");
  outbox.Granted(10);  // Steps below 10.
  outbox.Rewind();
  EXPECT_EQ(Drain(outbox), "g10 ");
  outbox.Granted(12);
  outbox.Rewind();
  EXPECT_EQ(Drain(outbox), "");
}

TEST(OutboxTest, FinishedIsTheLastMessageOfEveryStream) {
  Outbox outbox;
  outbox.Finish(v1::Finished());
  outbox.Add(MakeReport(3));
  EXPECT_FALSE(outbox.finish_was_sent());
  EXPECT_EQ(Drain(outbox), "r3 f ");
  EXPECT_TRUE(outbox.finish_was_sent());
  outbox.Rewind();
  EXPECT_FALSE(outbox.finish_was_sent());
  EXPECT_EQ(Drain(outbox), "r3 f ");
}

}  // namespace
}  // namespace sotto::control
