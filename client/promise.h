// The promise that a private job makes, word for word the same wherever it is printed.
#ifndef SOTTO_CLIENT_PROMISE_H_
#define SOTTO_CLIENT_PROMISE_H_

#include <string>

#include "proto/sotto/v1/plan.pb.h"

namespace sotto::client {

// The promise for `epsilon`, which covers what was or will be released, at the job's delta. A job
// that is not private gets a sentence that says so.
std::string Promise(const v1::PrivacyPlan& privacy, double epsilon);

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PROMISE_H_
