// A sharded model as a Hugging Face directory.
#ifndef SOTTO_WORKER_INFER_MODEL_SAVER_H_
#define SOTTO_WORKER_INFER_MODEL_SAVER_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/layout/model_description.h"
#include "proto/sotto/v1/spec.pb.h"
#include "worker/comm/communicator.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/infer/sharded_model.h"

namespace sotto::infer {

// What the directory shall hold; the same on all ranks.
struct SavePlan {
  struct Tensor {
    std::string name;  // in the file
    std::string dtype;
    int unit = -1;  // the parameter whose values it has; -1: none, `source` is copied
    int parameter = -1;
    checkpoint::FileTensor source;
  };
  std::vector<Tensor> tensors;                // by unit
  std::string config;                         // text of config.json
  std::map<std::string, std::string> copies;  // names of other files, and where they are
};

// The tensors and the configuration of the directory that the model was read from, with their names
// and dtypes, and the files of its tokenizer and of generation; a head that is tied follows the
// embedding. What is neither a parameter nor of a floating-point type (causal masks of old files)
// is left out. Borrows `files`. INVALID_ARGUMENT: the model has parameters that the files do not
// have (adapters), or a float64 tensor, which is named: it would come back rounded.
absl::StatusOr<SavePlan> PlanLike(const std::string& directory,
                                  const checkpoint::HuggingFaceFiles& files,
                                  const layout::ModelDescription& description);

// Names and configuration of the family; float32. INVALID_ARGUMENT: a family without a Hugging Face
// form, or adapters.
absl::StatusOr<SavePlan> PlanOfFamily(const v1::ModelSpec& model,
                                      const layout::ModelDescription& description);

// Whether SaveModel may have written a file of this name.
bool IsOfModel(const std::string& file);

// Whether this rank's part of every parameter is finite once it is rounded to the tensor's dtype.
// INVALID_ARGUMENT, naming the tensor: it is not.
absl::Status CheckFinite(const SavePlan& plan, fsdp::ShardedParameters& parameters);

// Gathers one unit after the other and lets rank 0 write it: no rank ever holds the whole model.
// The directory appears by rename; it may be there when empty. Until then its files lie in the
// folder `unfinished` ("": of a name of the process). Returns on every rank when it is there.
// Errors: of checkpoint::HuggingFaceWriter. Collective.
absl::Status SaveModel(ShardedModel& model, comm::Communicator& communicator, const SavePlan& plan,
                       const std::string& directory, const std::string& unfinished = "");

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_MODEL_SAVER_H_
