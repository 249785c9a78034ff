// Models and gradient modes on the path that training takes (executor, sharded parameters, gradient
// pass), in a world of one rank.
#ifndef SOTTO_TESTS_EQUIVALENCE_MODE_RUN_H_
#define SOTTO_TESTS_EQUIVALENCE_MODE_RUN_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/model_description.h"
#include "common/layout/strategy.h"
#include "tests/equivalence/example_gradient.h"
#include "worker/comm/solo_communicator.h"
#include "worker/dp/clipping_rule.h"
#include "worker/dp/gradient_pass.h"
#include "worker/dp/l2_sensitivity.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/models/micro_batch.h"
#include "worker/models/model.h"
#include "worker/train/executor.h"

namespace sotto::equivalence {

// A model with random parameters, all of them away from their initial zeros and ones.
struct TestModel {
  layout::ModelDescription description;
  layout::FlatLayout layout;
  std::vector<at::Tensor> flat;  // per unit, frozen region included
  UnitTensors parameters;        // views of them
};
TestModel MakeTestModel(const layout::Gpt2Dimensions& dimensions, int64_t seed);
// `stddev` of parameters with several dimensions; the others' is 0.1.
TestModel MakeTestModel(layout::ModelDescription description, double stddev, int64_t seed);

// Views of the unit's parameters in a flat buffer; undefined for frozen ones where it holds the
// trainable region only.
std::vector<at::Tensor> ParameterViews(const layout::ModelDescription& description,
                                       const layout::FlatLayout& layout, int unit,
                                       const at::Tensor& flat);

// Random tokens below `vocabulary`, lengths between 2 and T (mask 0 from there on).
models::MicroBatch MakeMicroBatch(int64_t examples, int64_t tokens, int64_t vocabulary,
                                  int64_t seed);

// Examples `indices` of `batch`.
models::MicroBatch SelectFrom(const models::MicroBatch& batch, const std::vector<int64_t>& indices);

struct ModeOptions {
  std::string mode = "per_example";
  bool deferred_norms = false;
  layout::Strategy strategy = layout::Strategy::kFullShard;
  layout::LayerModes layer_modes;
  double applied_clip_norm = 1;
  std::shared_ptr<const dp::ClippingRule> clipping;  // null: flat at applied_clip_norm
  models::Model::Options model;
  at::ScalarType compute_type = at::kFloat;
  // Makes the stages; null: those of the description's family.
  std::function<std::unique_ptr<models::Model>(const layout::ModelDescription&,
                                               const models::Model::Options&)>
      make_model;
};

// Every way to clip that the table knows: the modes with norms, and those whose norms can wait.
// `name` is fit for a test's name.
struct ClippingMode {
  std::string name;
  std::string mode;
  bool deferred_norms = false;
};
std::vector<ClippingMode> ClippingModes();

// What `auto` may plan: `kinds`, layer after layer in turn, from the `shift`th on.
layout::LayerModes MixedModes(const layout::ModelDescription& description,
                              const std::vector<layout::UnitMode>& kinds, size_t shift);

// Keeps the bytes of a mode out of tests' messages.
inline void PrintTo(const ClippingMode& mode, std::ostream* out) { *out << mode.name; }

// A model under one gradient mode, kept over micro-batches; gradients accumulate.
class ModeRun {
 public:
  // `model` is borrowed: its parameters are read anew by every Run.
  ModeRun(const TestModel& model, const ModeOptions& options, int64_t max_examples);

  // One step of these micro-batches, as the schedule has it. SetClipNorm is refused until EndStep.
  void Run(const std::vector<models::MicroBatch>& batches);
  void Run(const models::MicroBatch& batch) { Run(std::vector<models::MicroBatch>{batch}); }

  absl::Status SetClipNorm(double clip_norm) { return pass_->SetClipNorm(clip_norm); }
  dp::L2Sensitivity EndStep() { return pass_->EndStep(); }

  void ZeroGradients();

  // Sums over the micro-batches since zeroed.
  const UnitTensors& gradients() const { return gradients_; }
  const std::vector<at::Tensor>& flat_gradients() const { return flat_gradients_; }

  // Of the last micro-batch of the last Run.
  const at::Tensor& norm_sq_B() const { return pass_->private_norm_sq_B(); }

  // The forward pass alone.
  at::Tensor Losses(const models::MicroBatch& batch);

 private:
  void LoadParameters();

  const TestModel& model_;
  comm::SoloCommunicator communicator_;
  std::unique_ptr<models::Model> stages_;
  std::unique_ptr<dp::GradientPass> pass_;
  std::unique_ptr<fsdp::ShardedParameters> parameters_;
  std::unique_ptr<train::Executor> executor_;
  std::vector<at::Tensor> flat_gradients_;
  UnitTensors gradients_;
};

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_MODE_RUN_H_
