#include "worker/train/torch_errors.h"

#include <exception>
#include <new>

#include "c10/util/Exception.h"
#include "common/base/log.h"

namespace sotto::train {

absl::Status CatchTorchErrors(absl::FunctionRef<absl::Status()> work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("the worker ran out of memory");
  } catch (const c10::Error& error) {
    SOTTO_LOG(ERROR) << "tensor library: " << error.what_without_backtrace();
    return absl::InternalError("the tensor library failed; the worker's log says where");
  } catch (const std::exception& error) {
    SOTTO_LOG(ERROR) << "exception: " << error.what();
    return absl::InternalError("an exception ended the training; the worker's log says which");
  }
}

}  // namespace sotto::train
