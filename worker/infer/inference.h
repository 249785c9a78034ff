// One rank's part of a job that does not train: GENERATE, SCORE, CAPTURE or EDIT, as the plan has
// it.
#ifndef SOTTO_WORKER_INFER_INFERENCE_H_
#define SOTTO_WORKER_INFER_INFERENCE_H_

#include "absl/status/statusor.h"
#include "proto/sotto/v1/plan.pb.h"
#include "worker/comm/communicator.h"
#include "worker/infer/inference_options.h"

namespace sotto::infer {

// Collective: every rank calls it with the same plan (plan.has_inference()), under any strategy and
// world size. Reads weights shard by shard from inference().checkpoint_path() (one checkpoint's
// folder) or else from spec().model().hugging_face_directory(), prompts from the prompt file, and
// writes spec().inference().output(), which appears whole, by rename, or not at all; on every rank
// an OK without was_stopped means that it is there. What somebody else put there meanwhile is not
// replaced by a first attempt; a later one replaces a file, or a folder with a model alone.
//
// What it writes does not depend on world size, strategy or batch size, bit for bit where ranks
// have equally many threads; draws are a function of (seed, prompt, position). Sets this process'
// ATen threads to sharding().threads_per_rank() where that is set.
//
// INVALID_ARGUMENT, naming file or field: prompts or projections that do not fit the model, a
// prompt file whose SHA-256 is not the plan's, a model family that the kind makes no sense for.
// ALREADY_EXISTS: the output exists. NOT_FOUND: a file is missing. FAILED_PRECONDITION: the plans
// of the ranks differ, or the checkpoint is of another model. DATA_LOSS: the checkpoint is damaged.
// RESOURCE_EXHAUSTED: memory. Else the communicator's errors and the disk's.
absl::StatusOr<Outcome> RunInference(const v1::JobPlan& plan, comm::Communicator& communicator,
                                     const Options& options);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_INFERENCE_H_
