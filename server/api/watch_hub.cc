#include "server/api/watch_hub.h"

#include <algorithm>
#include <utility>

namespace sotto::api {
namespace {

using WeakStreams = std::vector<std::weak_ptr<WatchStream>>;

// Locks the living ones and forgets the others.
void TakeLiving(WeakStreams& held, std::vector<std::shared_ptr<WatchStream>>& living) {
  WeakStreams kept;
  for (std::weak_ptr<WatchStream>& stream : held) {
    if (std::shared_ptr<WatchStream> locked = stream.lock()) {
      living.push_back(std::move(locked));
      kept.push_back(std::move(stream));
    }
  }
  held.swap(kept);
}

}  // namespace

WatchHub::WatchHub(store::JobReader& reader, Clock& clock)
    : clock_(clock),
      listening_(reader.Listen(
          [this](const std::string& job, int64_t tail_sequence) { Wake(job, tail_sequence); })),
      bookmarks_([this] { SendBookmarks(); }) {}

WatchHub::~WatchHub() {
  listening_.reset();
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
  }
  bookmarks_.join();
}

void WatchHub::Add(const std::shared_ptr<WatchStream>& stream) {
  absl::Status draining;
  {
    MutexLock lock(&mutex_);
    draining = draining_;
    if (draining.ok()) streams_[stream->job()].push_back(stream);
  }
  if (!draining.ok()) stream->Close(draining);
}

void WatchHub::Drain(const absl::Status& status) {
  Streams living;
  {
    MutexLock lock(&mutex_);
    draining_ = status;
    living = AllStreams();
    streams_.clear();
  }
  for (const auto& stream : living) stream->Close(status);
}

void WatchHub::Wake(const std::string& job, int64_t tail_sequence) {
  for (const auto& stream : StreamsOf(job)) stream->Wake(tail_sequence);
}

WatchHub::Streams WatchHub::StreamsOf(const std::string& job) {
  Streams living;
  MutexLock lock(&mutex_);
  const auto held = streams_.find(job);
  if (held == streams_.end()) return living;
  TakeLiving(held->second, living);
  if (living.empty()) streams_.erase(held);
  return living;
}

WatchHub::Streams WatchHub::AllStreams() {
  Streams living;
  for (auto& [job, held] : streams_) TakeLiving(held, living);
  absl::erase_if(streams_, [](const auto& entry) { return entry.second.empty(); });
  return living;
}

void WatchHub::SendBookmarks() {
  while (true) {
    Streams living;
    {
      MutexLock lock(&mutex_);
      if (clock_.AwaitFor(mutex_, absl::Condition(&stopping_), kBookmarkInterval)) return;
      living = AllStreams();
    }
    const absl::Time since = clock_.Now() - kBookmarkInterval;
    for (const auto& stream : living) stream->Bookmark(since);
  }
}

}  // namespace sotto::api
