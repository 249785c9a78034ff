// The demo's job, for tests to change one thing of.
#ifndef SOTTO_SERVER_PLANNING_TESTING_DEMO_JOB_H_
#define SOTTO_SERVER_PLANNING_TESTING_DEMO_JOB_H_

#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/planner.h"

namespace sotto::planning {

// Epsilon 3 in 300 steps of 512 records, 2 workers, per_example.
v1::JobSpec MakeDemoSpec();
// The same, promising nothing.
v1::JobSpec MakeNotPrivateSpec();
// 15000 records with a budget of epsilon 8, delta 1e-6.
v1::DatasetFacts MakeDemoDataset();
// 4 slots, 8 cores, 8 GiB.
HostFacts MakeDemoHost();

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_TESTING_DEMO_JOB_H_
