// Which steps workers ran, by their own logs.
#ifndef SOTTO_TESTS_INTEGRATION_TESTING_WORKER_TRACE_H_
#define SOTTO_TESTS_INTEGRATION_TESTING_WORKER_TRACE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/sotto/v1/ledger_service.pb.h"

namespace sotto::integration {

struct StartedStep {
  int64_t attempt = 0;
  int rank = 0;
  int64_t step = 0;
  absl::Time time;
};

// From every rank-R.log of the job. A last line that a kill cut short is left out.
absl::StatusOr<std::vector<StartedStep>> ReadTrace(const std::string& state_dir,
                                                   const std::string& job);

// What every rank said of its memory when it ended: numbers by name ("planned_tensors",
// "tensor_peak", ...: worker/memory_summary.h), of the last line in each rank-R.log, by attempt's
// folder and rank. A rank that said nothing is left out.
absl::StatusOr<std::vector<std::map<std::string, int64_t>>> ReadMemorySummaries(
    const std::string& state_dir, const std::string& job);

// After how many steps each rank said that it cleared caches, and how much that gave back; by
// attempt's folder and rank. A rank that said nothing is left out.
absl::StatusOr<std::vector<std::vector<int64_t>>> ReadClearings(const std::string& state_dir,
                                                                const std::string& job);

// One line for each started step without a COMMITTED row of its job, attempt and step that is older
// than its start, for each RETURNED row that gives a started step back, and for each row that makes
// the job's committed steps fall below those that were started. Empty: the ledger covers the trace.
std::vector<std::string> UncoveredSteps(const std::vector<StartedStep>& trace,
                                        const std::vector<v1::LedgerEntry>& entries,
                                        const std::string& job);

}  // namespace sotto::integration

#endif  // SOTTO_TESTS_INTEGRATION_TESTING_WORKER_TRACE_H_
