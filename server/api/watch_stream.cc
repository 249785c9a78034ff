#include "server/api/watch_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/api/errors.h"
#include "server/api/timestamps.h"

namespace sotto::api {
namespace {

bool EndsTheJob(const v1::JobEvent& event) {
  if (!event.has_state()) return false;
  const v1::JobState state = event.state().state();
  return state == v1::SUCCEEDED || state == v1::FAILED || state == v1::CANCELLED;
}

absl::Status CompactedError(int64_t after_sequence, const store::EventPage& page) {
  return WithReason(absl::OutOfRangeError(absl::StrCat(
                        "events up to ", page.oldest_sequence - 1,
                        " are no longer kept; watch again with after_sequence at least ",
                        page.oldest_sequence - 1, ", but it was ", after_sequence)),
                    "CURSOR_COMPACTED",
                    {{"oldest_sequence", absl::StrCat(page.oldest_sequence)},
                     {"tail_sequence", absl::StrCat(page.tail_sequence)}});
}

absl::Status BeyondTailError(int64_t after_sequence, const store::EventPage& page) {
  return WithReason(
      absl::OutOfRangeError(absl::StrCat("after_sequence must be at most ", page.tail_sequence,
                                         ", but is ", after_sequence)),
      "CURSOR_BEYOND_TAIL", {{"tail_sequence", absl::StrCat(page.tail_sequence)}});
}

}  // namespace

std::shared_ptr<WatchStream> WatchStream::Create(Options options) {
  std::shared_ptr<WatchStream> stream(new WatchStream(std::move(options)));
  MutexLock lock(&stream->mutex_);
  stream->self_ = stream;
  return stream;
}

void WatchStream::Begin(bool job_has_ended, Audience audience) {
  {
    MutexLock lock(&mutex_);
    begun_ = true;
    job_has_ended_ = job_has_ended;
    audience_ = audience;
    last_write_ = options_.clock->Now();
  }
  ReadNext();
}

void WatchStream::Wake(int64_t tail_sequence) {
  {
    MutexLock lock(&mutex_);
    tail_ = std::max(tail_, tail_sequence);
    if (tail_ > cursor_) must_read_ = true;
  }
  ReadNext();
}

void WatchStream::Bookmark(absl::Time since) {
  MutexLock lock(&mutex_);
  if (!begun_ || finished_ || end_.has_value()) return;
  if (read_in_flight_ || write_in_flight_ || last_write_ > since) return;
  message_.Clear();
  StartWriting();
}

void WatchStream::Close(const absl::Status& status) {
  MutexLock lock(&mutex_);
  if (!end_.has_value()) end_ = status;
  FinishIfDue();
}

void WatchStream::OnWriteDone(bool ok) {
  {
    MutexLock lock(&mutex_);
    write_in_flight_ = false;
    if (!ok && !end_.has_value()) end_ = absl::UnavailableError("the connection broke");
    FinishIfDue();
  }
  ReadNext();
}

void WatchStream::OnCancel() { Close(absl::CancelledError("cancelled")); }

void WatchStream::OnDone() {
  std::shared_ptr<WatchStream> self;
  MutexLock lock(&mutex_);
  self.swap(self_);
  // `lock` goes before `self`, which may be the last reference.
}

void WatchStream::ReadNext() {
  int64_t after_sequence = 0;
  {
    MutexLock lock(&mutex_);
    if (!begun_ || finished_ || end_.has_value()) return;
    if (!must_read_ || read_in_flight_ || write_in_flight_) return;
    must_read_ = false;
    read_in_flight_ = true;
    after_sequence = cursor_;
  }
  options_.reader->ReadEvents(options_.job, after_sequence, kMaxEvents,
                              [self = shared_from_this()](absl::StatusOr<store::EventPage> page) {
                                self->TakePage(std::move(page));
                              });
}

void WatchStream::TakePage(absl::StatusOr<store::EventPage> page) {
  {
    MutexLock lock(&mutex_);
    read_in_flight_ = false;
    if (finished_ || end_.has_value()) return;
    const absl::Status status = page.ok() ? CheckCursor(*page) : page.status();
    if (!status.ok()) {
      end_ = status;
    } else if (!page->events.empty()) {
      WriteEvents(*std::move(page));
    } else if (job_has_ended_) {
      end_ = absl::OkStatus();
    }
    FinishIfDue();
  }
  ReadNext();  // Someone may have called Wake meanwhile.
}

absl::Status WatchStream::CheckCursor(const store::EventPage& page) const {
  if (page.compacted) return CompactedError(cursor_, page);
  if (cursor_ > page.tail_sequence) return BeyondTailError(cursor_, page);
  return absl::OkStatus();
}

void WatchStream::WriteEvents(store::EventPage page) {
  message_.Clear();
  tail_ = std::max(tail_, page.tail_sequence);
  for (v1::JobEvent& event : page.events) {
    cursor_ = event.sequence();
    if (EndsTheJob(event)) end_ = absl::OkStatus();
    *message_.add_events() = std::move(event);
    if (end_.has_value()) break;
  }
  // Later events are told by Wake.
  must_read_ = tail_ > cursor_ || job_has_ended_;
  StartWriting();
}

void WatchStream::StartWriting() {
  message_.set_tail_sequence(std::max(tail_, cursor_));
  last_write_ = options_.clock->Now();
  *message_.mutable_server_time() = ToTimestamp(last_write_);
  KeepOnlyVisible(audience_, message_);
  write_in_flight_ = true;
  StartWrite(&message_);
}

void WatchStream::FinishIfDue() {
  if (finished_ || write_in_flight_ || !end_.has_value()) return;
  finished_ = true;
  Finish(ToGrpcStatus(*end_));
}

}  // namespace sotto::api
