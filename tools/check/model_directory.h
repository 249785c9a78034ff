// The Hugging Face directory of a check, and how it is laid on ranks.
#ifndef SOTTO_TOOLS_CHECK_MODEL_DIRECTORY_H_
#define SOTTO_TOOLS_CHECK_MODEL_DIRECTORY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/checkpoint/hugging_face_weights.h"
#include "common/layout/model_description.h"
#include "common/layout/strategy.h"

namespace sotto::check {

// A head that the configuration ties but the files hold apart is one of the model's own.
struct ModelDirectory {
  std::unique_ptr<checkpoint::HuggingFaceFiles> files;
  layout::ModelDescription description;
  checkpoint::HuggingFaceWeights weights;  // of the files
};

// NOT_FOUND, INVALID_ARGUMENT, naming file and tensor or key: what cannot be read.
absl::StatusOr<ModelDirectory> OpenModelDirectory(const std::string& directory);

// INVALID_ARGUMENT: more tokens than the model has learned positions for.
absl::Status CheckLength(const layout::ModelDescription& model, int64_t tokens);

// `shard_group_size`: of HYBRID_SHARD, 0: half of the ranks. INVALID_ARGUMENT: it does not divide,
// is negative, or of another strategy.
absl::StatusOr<layout::RankGrid> ChooseGrid(layout::Strategy strategy, int world_size,
                                            int shard_group_size);

// Of one rank. Small work is done sooner by one thread than by several that wait for each other.
int ChooseThreads(const layout::ModelDescription& model, int64_t tokens, int world_size);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_MODEL_DIRECTORY_H_
