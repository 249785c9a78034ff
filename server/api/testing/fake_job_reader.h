// Jobs and events in memory, as JobReader promises them.
#ifndef SOTTO_SERVER_API_TESTING_FAKE_JOB_READER_H_
#define SOTTO_SERVER_API_TESTING_FAKE_JOB_READER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/mutex.h"
#include "server/store/job_reader.h"

namespace sotto::api {

// Thread-safe. Answers on the calling thread.
class FakeJobReader : public store::JobReader {
 public:
  // Stores or replaces a job.
  void PutJob(const v1::Job& job) {
    MutexLock lock(&mutex_);
    jobs_[job.id()].job = job;
  }
  // Appends, then tells the listeners.
  void Append(const std::string& job, v1::JobEvent event) {
    int64_t tail = 0;
    std::vector<std::shared_ptr<EventListener>> listeners;
    {
      MutexLock lock(&mutex_);
      std::vector<v1::JobEvent>& events = jobs_[job].events;
      tail = static_cast<int64_t>(events.size()) + 1;
      event.set_sequence(tail);
      events.push_back(std::move(event));
      for (const auto& held : listeners_) {
        if (auto listener = held.lock()) listeners.push_back(std::move(listener));
      }
    }
    for (const auto& listener : listeners) (*listener)(job, tail);
  }
  void Compact(const std::string& job, int64_t oldest_sequence) {
    MutexLock lock(&mutex_);
    jobs_[job].oldest = oldest_sequence;
  }

  // Compacts right before the `read`-th call (from 1) of ReadEvents: the floor overtakes a watcher.
  void CompactAtRead(int read, int64_t oldest_sequence) {
    MutexLock lock(&mutex_);
    compact_at_read_ = read;
    compact_to_ = oldest_sequence;
  }

  void PutDeviceProfile(const v1::DeviceProfile& profile) {
    MutexLock lock(&mutex_);
    profiles_.push_back(profile);
  }
  void ListDeviceProfiles(Done<std::vector<v1::DeviceProfile>> done) override {
    std::vector<v1::DeviceProfile> profiles;
    {
      MutexLock lock(&mutex_);
      profiles = profiles_;
    }
    done(std::move(profiles));
  }
  void GetJob(std::string id, Done<v1::Job> done) override {
    absl::StatusOr<v1::Job> found = absl::NotFoundError("no job " + id);
    {
      MutexLock lock(&mutex_);
      const auto stored = jobs_.find(id);
      if (stored != jobs_.end()) found = stored->second.job;
    }
    done(std::move(found));
  }
  void ListJobs(store::JobQuery query, Done<store::JobPage> done) override {
    store::JobPage page;
    {
      MutexLock lock(&mutex_);
      last_query_ = query;
      for (auto stored = jobs_.rbegin(); stored != jobs_.rend(); ++stored) {
        const int64_t number = std::stoll(stored->first.substr(4));
        if (query.before_number > 0 && number >= query.before_number) continue;
        if (static_cast<int>(page.jobs.size()) == query.limit) {
          page.next_before_number = std::stoll(page.jobs.back().id().substr(4));
          break;
        }
        page.jobs.push_back(stored->second.job);
      }
    }
    done(std::move(page));
  }
  void ReadEvents(std::string job, int64_t after_sequence, int limit,
                  Done<store::EventPage> done) override {
    store::EventPage page;
    {
      MutexLock lock(&mutex_);
      Stored& stored = jobs_[job];
      if (++reads_ == compact_at_read_) stored.oldest = compact_to_;
      page.tail_sequence = static_cast<int64_t>(stored.events.size());
      page.oldest_sequence = stored.oldest;
      page.compacted = after_sequence + 1 < stored.oldest;
      for (int64_t i = after_sequence; !page.compacted && i < page.tail_sequence; ++i) {
        if (static_cast<int>(page.events.size()) == limit) break;
        page.events.push_back(stored.events[i]);
      }
    }
    done(std::move(page));
  }
  std::shared_ptr<void> Listen(EventListener listener) override {
    auto held = std::make_shared<EventListener>(std::move(listener));
    MutexLock lock(&mutex_);
    listeners_.push_back(held);
    return held;
  }

  store::JobQuery last_query() {
    MutexLock lock(&mutex_);
    return last_query_;
  }

 private:
  struct Stored {
    v1::Job job;
    std::vector<v1::JobEvent> events;
    int64_t oldest = 1;
  };

  Mutex mutex_;
  std::map<std::string, Stored> jobs_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<EventListener>> listeners_ ABSL_GUARDED_BY(mutex_);
  store::JobQuery last_query_ ABSL_GUARDED_BY(mutex_);
  int reads_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<v1::DeviceProfile> profiles_ ABSL_GUARDED_BY(mutex_);
  int compact_at_read_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t compact_to_ ABSL_GUARDED_BY(mutex_) = 1;
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_TESTING_FAKE_JOB_READER_H_
