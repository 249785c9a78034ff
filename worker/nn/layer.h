#ifndef SOTTO_WORKER_NN_LAYER_H_
#define SOTTO_WORKER_NN_LAYER_H_

// Shape letters of worker/nn: B examples, T tokens, I inputs and O outputs of a linear map, D
// width, V vocabulary.

#include <cstdint>
#include <utility>
#include <vector>

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"

namespace sotto::nn {

// What a layer keeps from its forward pass for the other verbs. Which members are set is the
// layer's own matter.
struct SavedInput {
  at::Tensor activations;        // [B, T, *]; convolutions and GroupNorm: [B, C, H, W]
  at::Tensor tokens_BT;          // int64
  at::Tensor mean_BT;            // LayerNorm; GroupNorm: [B, groups]
  at::Tensor reciprocal_std_BT;  // LayerNorm, RMSNorm; GroupNorm: [B, groups]
  // The embedding's call site of a tied weight: what the head's call site left for the cross term
  // of the norm.
  at::Tensor head_activations_BTD;
  // [b, s, t] = gradient of the logit of token tokens_BT[b, t] at position s; where the vocabulary
  // is smaller than T: [b, s, v] = that of token v, so that no T x T values are kept.
  at::Tensor head_grads;
  // The tensors above and the output gradients hold examples [first_example, first_example +
  // size(0)) of the micro-batch.
  int64_t first_example = 0;
};

// `saved` with every floating-point value of the examples where `keep_B` (bool [B]) is false
// replaced by zero. Selects, never multiplies, so that NaN and infinity vanish.
SavedInput SelectExamples(const SavedInput& saved, const at::Tensor& keep_B);
at::Tensor SelectExamples(const at::Tensor& values, const at::Tensor& keep_B);

// Examples [begin, begin + count) of `saved`, as views.
SavedInput SliceExamples(const SavedInput& saved, int64_t begin, int64_t count);

// How an example's gradient is kept between the backward pass and the fold.
enum class HeldForm {
  kSlab,         // dense, one row of a slab per example
  kOutputGrads,  // (saved input, output gradients), no larger than the activations
};

// How an example's squared gradient norm is formed, where a layer has the choice.
enum class NormForm {
  kGram,          // through both T x T Gram matrices, materialised for one example at a time
  kTiled,         // Gram or direct form in tiles, whichever is cheaper
  kFromGradient,  // from the example's own gradient, materialised for one example at a time
};

// A layer that owns parameters: explicit vector-Jacobian products, no autograd. Stateless and
// thread-safe; what a pass needs lies in SavedInput. Examples never mix.
//
// Activations, weights and output gradients are float32, or all bfloat16; gradients, coefficients
// and slabs are float32. Norms and weight gradients are taken in float32 from the values as they
// are. All tensors lie on one device.
//
// `parameters` and `gradients` are always those of the layer's whole unit, in the layout's order;
// parameters() says which gradients the layer writes. Gradients are added to what their tensors
// hold.
class Layer {
 public:
  // `index`: the layer's position in UnitDescription::layers.
  explicit Layer(std::vector<int> trainable_parameters, int index = 0)
      : parameters_(std::move(trainable_parameters)), index_(index) {}
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  // Positions of the layer's trainable parameters in its unit's parameter list. A layer without
  // any is frozen: it has verbs 1 and 2 only and is never handed to a sink.
  absl::Span<const int> parameters() const { return parameters_; }

  int index() const { return index_; }

  // Verb 1. Returns the output and fills `saved`.
  virtual at::Tensor Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                             SavedInput* saved) const = 0;

  // Verb 2. Returns the gradient of the input; undefined for an input without gradient (tokens).
  virtual at::Tensor BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                                   const at::Tensor& output_grads) const = 0;

  // Verb 3. Adds each example's squared gradient norm to `norm_sq_B` (float64 [B]). Sums are taken
  // in float32 within blocks of at most 4096 elements and in float64 beyond. The default takes the
  // norm of each example's own gradient, whatever the form: verb 4 on its slice.
  virtual void AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads,
                                NormForm form, const at::Tensor& norm_sq_B) const;

  // Verbs 2 and 3 in one. A layer that overrides it works example by example, so that an example's
  // output gradients are read for both while they are in cache; the default is one after the other.
  // An undefined `norm_sq_B` asks for the input gradient alone, with the same bits: a second pass
  // must see the output gradients whose norms the first one took.
  virtual at::Tensor BackwardInputWithNormSq(absl::Span<const at::Tensor> parameters,
                                             const SavedInput& saved,
                                             const at::Tensor& output_grads, NormForm form,
                                             const at::Tensor& norm_sq_B) const;

  // Verb 4. Adds sum_b c_b grad_b to `gradients`; an undefined `coefficients_B` (float32 [B]) means
  // all ones. An example with coefficient 0 must be finite: callers select it to zero first.
  virtual void WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                          const at::Tensor& coefficients_B,
                          absl::Span<const at::Tensor> gradients) const = 0;

  // Verbs 3 and 4 in one, only where held_form() is kSlab: overwrites each example's gradient in
  // `slabs` (per parameter of the unit [B, elements], rows may be far apart) and adds its squared
  // norm to `norm_sq_B`. The default is verb 4 on each example's slice.
  virtual void ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                            absl::Span<const at::Tensor> slabs, const at::Tensor& norm_sq_B) const;

  virtual HeldForm held_form() const { return HeldForm::kSlab; }

 protected:
  // Shapes of parameters(), in their order, for the defaults of verb 3 and ExampleGrads (this
  // default dies: a layer overrides both or this).
  virtual std::vector<std::vector<int64_t>> GradientShapes(const SavedInput& saved,
                                                           const at::Tensor& output_grads) const;

 private:
  const std::vector<int> parameters_;
  const int index_;
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_LAYER_H_
