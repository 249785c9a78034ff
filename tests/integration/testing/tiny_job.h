// The smallest dataset and model that train: steps of milliseconds.
#ifndef SOTTO_TESTS_INTEGRATION_TESTING_TINY_JOB_H_
#define SOTTO_TESTS_INTEGRATION_TESTING_TINY_JOB_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "proto/sotto/v1/ledger_service.pb.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::integration {

// A token file of `records` short records; `salt` makes its content another one.
// `classes` above 0: with labels below it.
absl::Status WriteTinyDataset(const std::string& path, int records = 64, int salt = 0,
                              int classes = 0);

// Registration of that file with a budget that many tiny jobs fit into.
v1::RegisterDatasetRequest TinyDataset(const std::string& name, const std::string& path);

struct TinyJobOptions {
  int64_t steps = 400;  // long enough for a kill to find it running, on a busy machine too
  int workers = 2;
  double crash_reserve = 1;
  int64_t checkpoint_every = 10;
};

// A private job of a model of width 16 on dataset "tiny".
v1::JobSpec TinyJob(const TinyJobOptions& options = {});

}  // namespace sotto::integration

#endif  // SOTTO_TESTS_INTEGRATION_TESTING_TINY_JOB_H_
