// A sharded model as a Hugging Face directory.
#ifndef SOTTO_WORKER_INFER_MODEL_SAVER_H_
#define SOTTO_WORKER_INFER_MODEL_SAVER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "common/checkpoint/file_operations.h"
#include "worker/comm/communicator.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/infer/save_plan.h"
#include "worker/infer/sharded_model.h"

namespace sotto::infer {

// Whether this rank's part of every parameter is finite once it is rounded to the tensor's dtype.
// INVALID_ARGUMENT, naming the tensor: it is not.
absl::Status CheckFinite(const SavePlan& plan, fsdp::ShardedParameters& parameters);

struct SaveOptions {
  std::string directory;       // is created; may be there when empty
  std::string unfinished;      // the folder until it is whole; "": named after rank 0's process
  int64_t max_file_bytes = 0;  // of checkpoint::HuggingFaceLayout::Create
  checkpoint::FileOperations* files = &checkpoint::DiskOperations::Get();
};

// Every rank writes what it owns, and nothing is gathered:
//   1. Rank 0 makes the files of tensors, as long as they will be (checkpoint::HuggingFaceFolder).
//   2. Each rank writes and syncs the elements of its own shards. Of HYBRID_SHARD's replicas the
//      first one does; where every rank holds all of the model, and of tensors that are copied,
//      each writes an equal range.
//   3. Rank 0 adds the other files and gives the folder the directory's name.
// After each of these ranks agree: an error of one is an error of all, and nothing is left. The
// options are the same on all ranks, but for `files`. Errors: of HuggingFaceFolder and
// HuggingFacePart. Collective.
absl::Status SaveModel(ShardedModel& model, comm::Communicator& communicator, const SavePlan& plan,
                       const SaveOptions& options);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_MODEL_SAVER_H_
