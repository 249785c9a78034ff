// Models and gradient modes without sharding: one process, parameters in plain buffers laid out as
// in training.
#ifndef SOTTO_TESTS_EQUIVALENCE_MODE_RUN_H_
#define SOTTO_TESTS_EQUIVALENCE_MODE_RUN_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "common/layout/flat_layout.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/model_description.h"
#include "tests/equivalence/autograd_gpt2.h"
#include "worker/dp/clipping_rule.h"
#include "worker/dp/gradient_pass.h"
#include "worker/dp/l2_sensitivity.h"
#include "worker/models/micro_batch.h"
#include "worker/models/model.h"

namespace sotto::equivalence {

// A GPT-2 with random parameters, all of them away from their initial zeros and ones.
struct TestModel {
  layout::ModelDescription description;
  layout::FlatLayout layout;
  std::vector<at::Tensor> flat;  // per unit
  UnitTensors parameters;        // views of them
};
TestModel MakeTestModel(const layout::Gpt2Dimensions& dimensions, int64_t seed);

// Views of the unit's parameters in a flat buffer.
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
  layout::LayerModes layer_modes;
  double applied_clip_norm = 1;
  std::shared_ptr<const dp::ClippingRule> clipping;  // null: flat at applied_clip_norm
  models::Model::Options model;
};

// Every way to clip that the table knows: the modes with norms, and those whose norms can wait.
// `name` is fit for a test's name.
struct ClippingMode {
  std::string name;
  std::string mode;
  bool deferred_norms = false;
};
std::vector<ClippingMode> ClippingModes();

// A model under one gradient mode, kept over micro-batches; gradients accumulate.
class ModeRun {
 public:
  // `model` is borrowed.
  ModeRun(const TestModel& model, const ModeOptions& options, int64_t max_examples);

  // One micro-batch by the mode's sequence of passes.
  void Run(const models::MicroBatch& batch);

  void ZeroGradients();

  // Between steps only: Run begins a step and EndStep ends it.
  absl::Status SetClipNorm(double clip_norm) { return pass_->SetClipNorm(clip_norm); }
  dp::L2Sensitivity EndStep() { return pass_->EndStep(); }

  const UnitTensors& gradients() const {
    return gradients_;
  }  // sums over the micro-batches since zeroed
  const std::vector<at::Tensor>& flat_gradients() const { return flat_gradients_; }
  const at::Tensor& losses_B() const { return losses_B_; }  // of the last micro-batch
  const at::Tensor& norm_sq_B() const { return pass_->private_norm_sq_B(); }

 private:
  at::Tensor Forward(const models::MicroBatch& batch);
  void Backward(const models::MicroBatch& batch, dp::GradientPass::Verb verb);

  const TestModel& model_;
  const layout::UnitMode mode_;
  std::unique_ptr<models::Model> stages_;
  std::unique_ptr<dp::GradientPass> pass_;
  std::vector<at::Tensor> flat_gradients_;
  UnitTensors gradients_;
  at::Tensor losses_B_;
};

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_MODE_RUN_H_
