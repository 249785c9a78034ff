// What kind of failure ended an attempt, carried by its Status: whether starting again may mend it
// is not to be read from a code that several layers use.
#ifndef SOTTO_WORKER_TRAIN_FAILURE_REASON_H_
#define SOTTO_WORKER_TRAIN_FAILURE_REASON_H_

#include "absl/status/status.h"

namespace sotto::train {

enum class FailureReason {
  kOther,              // a new attempt may mend it
  kInvalidData,        // the file changed, is damaged, or is not the registered one
  kInvalidCheckpoint,  // no checkpoint can be read, or it is of another model
  kProtocol,           // coordinator and worker do not speak alike
  kNotFinite,          // training made parameters infinite or NaN
  kPlanCannotRun,      // the plan or its files do not fit this worker: a repetition would end alike
};

// `status`, which is not OK, with this reason.
absl::Status WithFailureReason(absl::Status status, FailureReason reason);

// kOther when none was given.
FailureReason FailureReasonOf(const absl::Status& status);

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_FAILURE_REASON_H_
