#ifndef SOTTO_WORKER_MODELS_MODEL_H_
#define SOTTO_WORKER_MODELS_MODEL_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/layout/model_description.h"
#include "worker/models/loss_reduction.h"
#include "worker/models/stage.h"

namespace sotto::models {

// A model as its stages in forward order: stages()[i] reads unit description.stages[i]. Holds no
// parameters.
class Model {
 public:
  struct Options {
    LossReduction loss_reduction = LossReduction::kMean;
    // Logits are formed for as many examples at a time as fit (at least one); beyond it they are
    // recomputed in backward.
    int64_t head_chunk_bytes = int64_t{256} << 20;
  };

  // INVALID_ARGUMENT when the description lacks a parameter its family needs.
  static absl::StatusOr<std::unique_ptr<Model>> Create(const layout::ModelDescription& description,
                                                       const Options& options);

  // A model whose stages were built elsewhere: tests' own.
  static std::unique_ptr<Model> FromStages(std::vector<std::unique_ptr<Stage>> stages) {
    return std::unique_ptr<Model>(new Model(std::move(stages)));
  }

  absl::Span<const std::unique_ptr<Stage>> stages() const { return stages_; }

  // Drops what every stage keeps of the current micro-batch.
  void Release();

 private:
  explicit Model(std::vector<std::unique_ptr<Stage>> stages) : stages_(std::move(stages)) {}

  const std::vector<std::unique_ptr<Stage>> stages_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_MODEL_H_
