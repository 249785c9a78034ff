#include "tests/integration/testing/service_fixture.h"

#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "absl/strings/strip.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/mutex.h"
#include "common/base/status_matchers.h"
#include "common/base/testing/printed_seed.h"
#include "gmock/gmock.h"
#include "tests/integration/testing/leftovers.h"
#include "tests/integration/testing/tiny_job.h"
#include "tests/integration/testing/worker_trace.h"

namespace sotto::integration {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;

}  // namespace

void ServiceFixture::SetUp() {
  random_.seed(PrintedSeed());
  shared_memory_before_ = NamedSharedMemory();
  ASSERT_OK_AND_ASSIGN(folder_, MakeTempDir("/tmp/sotto-test-"));
  state_dir_ = folder_ + "/state";
  dataset_path_ = folder_ + "/tiny.tokens";
  ASSERT_OK(WriteTinyDataset(dataset_path_));
}

void ServiceFixture::TearDown() {
  client_ = nullptr;
  std::string socket;
  if (coordinator_.has_value()) {
    socket = std::string(absl::StripPrefix(coordinator_->address(), "unix:"));
    const std::optional<ProcessEnd> end = coordinator_->Terminate();
    EXPECT_TRUE(end.has_value() && end->status == 0 && end->signal == 0)
        << "the coordinator did not end well";
    coordinator_.reset();
  }
  const std::vector<pid_t> left = ProcessesWith(state_dir_);
  EXPECT_THAT(left, IsEmpty()) << "processes are left over";
  for (const pid_t pid : left) kill(pid, SIGKILL);
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(socket).parent_path()))
      << "the socket's folder is left over: " << socket;
  EXPECT_FALSE(std::filesystem::exists(state_dir_ + "/address"));
  EXPECT_EQ(NamedSharedMemory(), shared_memory_before_);
  if (HasFailure()) {
    std::cout << "kept for inspection: " << folder_ << std::endl;
  } else {
    std::filesystem::remove_all(folder_);
  }
}

void ServiceFixture::StartCoordinator(const std::vector<std::string>& extra_flags,
                                      const std::string& worker_binary) {
  CoordinatorProcess::Options options;
  options.state_dir = state_dir_;
  options.extra_flags = extra_flags;
  options.worker_binary = worker_binary;
  ASSERT_OK_AND_ASSIGN(coordinator_, CoordinatorProcess::Start(options));
  if (client_ == nullptr) client_ = std::make_unique<ServiceClient>(coordinator_->address());
}

void ServiceFixture::RegisterTinyDataset() {
  ASSERT_OK(client().Register(TinyDataset("tiny", dataset_path_)));
}

WatchedJob ServiceFixture::SubmitWatched(const v1::JobSpec& spec) {
  WatchedJob watched{.steps = spec.train().steps()};
  const absl::StatusOr<v1::Job> job = client().Submit(spec);
  EXPECT_OK(job);
  if (!job.ok()) return watched;
  watched.id = job->id();
  watched.one = std::make_unique<EventLog>(address(), watched.id);
  watched.other = std::make_unique<EventLog>(address(), watched.id);
  return watched;
}

WatchedJob ServiceFixture::Catch(v1::JobSpec spec,
                                 const std::function<void(WatchedJob&)>& interrupt) {
  constexpr int kLongerJobs = 4;
  for (int i = 0;; ++i) {
    WatchedJob job = SubmitWatched(spec);
    if (job.id.empty()) return job;
    interrupt(job);
    if (HasFatalFailure()) return job;
    const auto trace = ReadTrace(state_dir_, job.id);
    EXPECT_OK(trace);
    const bool is_caught =
        !trace.ok() || std::none_of(trace->begin(), trace->end(), [&](const StartedStep& started) {
          return started.attempt == 1 && started.step + 1 >= job.steps;
        });
    if (is_caught) return job;
    std::cout << job.id << " was over before it could be interrupted" << std::endl;
    job.one->Finish();
    EXPECT_LT(i, kLongerJobs) << "no job is long enough";
    if (i == kLongerJobs) return job;
    spec.mutable_train()->set_steps(2 * job.steps);
  }
}

bool ServiceFixture::KillWorker(const std::string& job, int rank) {
  const pid_t pid = FindWorker(state_dir_, job, rank);
  return pid > 0 && kill(pid, SIGKILL) == 0;
}

void ServiceFixture::KillAllWorkers(const std::string& job, int world_size) {
  std::vector<pid_t> workers;
  for (int rank = 0; rank < world_size; ++rank) {
    workers.push_back(FindWorker(state_dir_, job, rank));
  }
  for (const pid_t pid : workers) {
    if (pid > 0) kill(pid, SIGKILL);
  }
}

void ServiceFixture::WaitUpTo(absl::Duration longest) {
  const double part = std::uniform_real_distribution<double>(0, 1)(random_);
  const bool never = false;
  Mutex mutex;
  MutexLock lock(mutex);
  RealClock::Get().AwaitFor(mutex, absl::Condition(&never), part * longest);
}

v1::Job ServiceFixture::ExpectSoundEnd(const std::string& job, v1::JobState state) {
  const absl::StatusOr<v1::Job> ended = client().GetJob(job);
  EXPECT_OK(ended);
  if (!ended.ok()) return v1::Job();
  EXPECT_EQ(ended->state(), state)
      << v1::JobState_Name(ended->state()) << " " << v1::StateReason_Name(ended->reason()) << " "
      << ended->message();
  const auto trace = ReadTrace(state_dir_, job);
  const auto entries = client().ListCharges("tiny");
  EXPECT_OK(trace);
  EXPECT_OK(entries);
  if (trace.ok() && entries.ok()) {
    EXPECT_THAT(*trace, Not(IsEmpty())) << "a check of nothing";
    EXPECT_THAT(UncoveredSteps(*trace, *entries, job), IsEmpty());
  }
  EXPECT_OK(client().VerifyLedger());
  EXPECT_EQ(FindWorker(state_dir_, job, 0), -1) << "the job has ended, but a worker has not";
  return *ended;
}

void ExpectSameDenseEvents(const std::vector<v1::JobEvent>& one,
                           const std::vector<v1::JobEvent>& other) {
  ASSERT_EQ(one.size(), other.size());
  for (size_t i = 0; i < one.size(); ++i) {
    ASSERT_EQ(one[i].sequence(), static_cast<int64_t>(i) + 1);
    ASSERT_EQ(one[i].SerializeAsString(), other[i].SerializeAsString()) << "event " << i + 1;
  }
}

}  // namespace sotto::integration
