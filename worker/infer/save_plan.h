// What a Hugging Face directory shall hold that a sharded model is written into.
#ifndef SOTTO_WORKER_INFER_SAVE_PLAN_H_
#define SOTTO_WORKER_INFER_SAVE_PLAN_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/layout/model_description.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::infer {

// The same on all ranks.
struct SavePlan {
  struct Tensor {
    std::string name;  // in the file
    std::string dtype;
    int unit = -1;  // the parameter whose values it has; -1: none, `source` is copied
    int parameter = -1;
    checkpoint::FileTensor source;
  };
  std::vector<Tensor> tensors;                // in the order of the files
  std::string config;                         // text of config.json
  std::map<std::string, std::string> copies;  // names of other files, and where they are
};

// The tensors and the configuration of the directory that the model was read from, with their names
// and dtypes, and the files of its tokenizer and of generation; a head that is tied follows the
// embedding. What is no parameter (causal masks of old files) is copied byte for byte. Tensors of
// wide dtypes come first, so that all are aligned. Borrows `files`. INVALID_ARGUMENT: the model has
// parameters that the files do not have (adapters), or one in float64, which is named: it would
// come back rounded.
absl::StatusOr<SavePlan> PlanLike(const std::string& directory,
                                  const checkpoint::HuggingFaceFiles& files,
                                  const layout::ModelDescription& description);

// Names and configuration of the family; float32. INVALID_ARGUMENT: a family without a Hugging Face
// form, or adapters.
absl::StatusOr<SavePlan> PlanOfFamily(const v1::ModelSpec& model,
                                      const layout::ModelDescription& description);

// Whether SaveModel may have written a file of this name.
bool IsOfModel(const std::string& file);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_SAVE_PLAN_H_
