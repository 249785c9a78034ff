// A scheduler that remembers what it was asked and answers as told.
#ifndef SOTTO_SERVER_API_TESTING_FAKE_SCHEDULER_H_
#define SOTTO_SERVER_API_TESTING_FAKE_SCHEDULER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/mutex.h"
#include "server/scheduler/scheduler.h"

namespace sotto::api {

// Thread-safe. Answers on the calling thread.
class FakeScheduler : public scheduler::Scheduler {
 public:
  void Admit(scheduler::AdmitRequest request,
             std::function<void(absl::StatusOr<scheduler::AdmitResult>)> done) override {
    scheduler::AdmitResult result;
    absl::Status refusal;
    {
      MutexLock lock(&mutex_);
      admitted_.push_back(request);
      refusal = refusal_;
      result.job.set_id("job-" + std::to_string(admitted_.size()));
    }
    result.job.set_state(v1::QUEUED);
    *result.job.mutable_plan() = request.plan;
    if (!refusal.ok()) return done(refusal);
    done(std::move(result));
  }
  void Cancel(std::string job, std::function<void(absl::StatusOr<v1::Job>)> done) override {
    v1::Job cancelled;
    cancelled.set_id(job);
    cancelled.set_state(v1::CANCELLING);
    done(cancelled);
  }
  void Pause(std::string job, std::function<void(absl::StatusOr<v1::Job>)> done) override {
    v1::Job paused;
    paused.set_id(job);
    paused.set_state(v1::PAUSING);
    done(paused);
  }
  void Resume(scheduler::ResumeRequest request,
              std::function<void(absl::StatusOr<v1::Job>)> done) override {
    v1::Job resumed;
    resumed.set_id(request.job);
    resumed.set_state(v1::QUEUED);
    *resumed.mutable_plan() = request.plan;
    {
      MutexLock lock(&mutex_);
      resumed_.push_back(std::move(request));
    }
    done(resumed);
  }
  StreamId Attach(v1::Hello, std::shared_ptr<scheduler::WorkerChannel>) override { return 1; }
  void Receive(StreamId, v1::WorkerMessage) override {}
  void Detach(StreamId) override {}
  void RecordStewardView(std::string job, std::string what,
                         std::function<void(absl::Status)> done) override {
    {
      MutexLock lock(&mutex_);
      views_.push_back(job + " " + what);
    }
    done(absl::OkStatus());
  }
  scheduler::SlotsInfo Slots() const override { return {.slots = 4, .slots_in_use = 1}; }

  // Later admissions fail with this.
  void RefuseWith(absl::Status refusal) {
    MutexLock lock(&mutex_);
    refusal_ = std::move(refusal);
  }
  std::vector<scheduler::AdmitRequest> admitted() {
    MutexLock lock(&mutex_);
    return admitted_;
  }
  std::vector<scheduler::ResumeRequest> resumed() {
    MutexLock lock(&mutex_);
    return resumed_;
  }
  std::vector<std::string> views() {
    MutexLock lock(&mutex_);
    return views_;
  }

 private:
  Mutex mutex_;
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  std::vector<scheduler::AdmitRequest> admitted_ ABSL_GUARDED_BY(mutex_);
  std::vector<scheduler::ResumeRequest> resumed_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::string> views_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_TESTING_FAKE_SCHEDULER_H_
