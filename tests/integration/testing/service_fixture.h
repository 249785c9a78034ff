// A coordinator with a tiny registered dataset, and the checks at the end of every story.
#ifndef SOTTO_TESTS_INTEGRATION_TESTING_SERVICE_FIXTURE_H_
#define SOTTO_TESTS_INTEGRATION_TESTING_SERVICE_FIXTURE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "proto/sotto/v1/job.pb.h"
#include "proto/sotto/v1/spec.pb.h"
#include "tests/integration/testing/coordinator_process.h"
#include "tests/integration/testing/event_log.h"
#include "tests/integration/testing/service_client.h"

namespace sotto::integration {

// A job, with two watchers from its first event on.
struct WatchedJob {
  std::string id;
  int64_t steps = 0;
  std::unique_ptr<EventLog> one;
  std::unique_ptr<EventLog> other;
};

class ServiceFixture : public ::testing::Test {
 protected:
  void SetUp() override;
  // Nothing of the service may be left, whatever the test did.
  void TearDown() override;

  // Also again, after it was killed.
  void StartCoordinator(const std::vector<std::string>& extra_flags = {},
                        const std::string& worker_binary = "");
  void RegisterTinyDataset();
  ServiceClient& client() { return *client_; }
  const std::string& address() const { return coordinator_->address(); }

  WatchedJob SubmitWatched(const v1::JobSpec& spec);

  // Submits the job and gives it to `interrupt`, which waits for a moment of it and acts. A job
  // that began its last step before `interrupt` returned, on a machine that stalled, was not
  // interrupted: it is waited for, and one of twice the steps takes its place. Returns the one that
  // was caught. `interrupt` leaves a coordinator running and expects nothing that a job at its end
  // would fail.
  WatchedJob Catch(v1::JobSpec spec, const std::function<void(WatchedJob&)>& interrupt);

  // Kills the job's worker of this rank; false: there is none.
  bool KillWorker(const std::string& job, int rank);
  // All of one attempt: no rank of the next one, which the first kill may bring about.
  void KillAllWorkers(const std::string& job, int world_size);

  // A random part of `longest`, from the printed seed: crashes fall anywhere within a step.
  void WaitUpTo(absl::Duration longest);

  // The job is in this state, with every charge, step and row in order:
  // every started step was granted before, committed steps cover them, the ledger verifies.
  v1::Job ExpectSoundEnd(const std::string& job, v1::JobState state);

  std::string folder_;
  std::string state_dir_;
  std::string dataset_path_;
  std::optional<CoordinatorProcess> coordinator_;
  std::unique_ptr<ServiceClient> client_;
  std::mt19937_64 random_;
  std::vector<std::string> shared_memory_before_;
};

// Both saw every event of the job, once, in the same order, from 1.
void ExpectSameDenseEvents(const std::vector<v1::JobEvent>& one,
                           const std::vector<v1::JobEvent>& other);

}  // namespace sotto::integration

#endif  // SOTTO_TESTS_INTEGRATION_TESTING_SERVICE_FIXTURE_H_
