// The one boundary where LibTorch's exceptions become Status.
#ifndef SOTTO_WORKER_TRAIN_TORCH_ERRORS_H_
#define SOTTO_WORKER_TRAIN_TORCH_ERRORS_H_

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

namespace sotto::train {

// What `work` returns. RESOURCE_EXHAUSTED: it ran out of memory. INTERNAL: it threw; the message is
// fixed, because a tensor library's text may hold values of the data (it goes to the worker's log,
// which only stewards read).
absl::Status CatchTorchErrors(absl::FunctionRef<absl::Status()> work);

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_TORCH_ERRORS_H_
