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
  at::Tensor activations;        // [B, T, *]
  at::Tensor tokens_BT;          // int64
  at::Tensor mean_BT;            // LayerNorm
  at::Tensor reciprocal_std_BT;  // LayerNorm
  // The embedding's call site of a tied weight: what the head's call site left for the cross term
  // of the norm.
  at::Tensor head_activations_BTD;
  at::Tensor
      head_grads_BTT;  // [b, s, t] = gradient of the logit of token tokens_BT[b, t] at position s
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

// A layer that owns parameters: explicit vector-Jacobian products, no autograd. Stateless and
// thread-safe; what a pass needs lies in SavedInput. All tensors are float32 on one device unless
// said otherwise; examples never mix.
//
// `parameters` and `gradients` are always those of the layer's whole unit, in the layout's order;
// parameters() says which of them the layer owns. Gradients are added to what their tensors hold.
class Layer {
 public:
  explicit Layer(std::vector<int> parameters) : parameters_(std::move(parameters)) {}
  virtual ~Layer() = default;
  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  // Positions of the layer's parameters in its unit's parameter list.
  absl::Span<const int> parameters() const { return parameters_; }

  // Verb 1. Returns the output and fills `saved`.
  virtual at::Tensor Forward(absl::Span<const at::Tensor> parameters, const at::Tensor& input,
                             SavedInput* saved) const = 0;

  // Verb 2. Returns the gradient of the input; undefined for an input without gradient (tokens).
  virtual at::Tensor BackwardInput(absl::Span<const at::Tensor> parameters, const SavedInput& saved,
                                   const at::Tensor& output_grads) const = 0;

  // Verb 3. Adds each example's squared gradient norm to `norm_sq_B` (float64 [B]). Sums are taken
  // in float32 within blocks of at most 4096 elements and in float64 beyond. Holds no more than
  // tiles of a T x T or I x O matrix.
  virtual void AddExampleNormSq(const SavedInput& saved, const at::Tensor& output_grads,
                                const at::Tensor& norm_sq_B) const = 0;

  // Verb 4. Adds sum_b c_b grad_b to `gradients`; an undefined `coefficients_B` (float32 [B]) means
  // all ones. An example with coefficient 0 must be finite: callers select it to zero first.
  virtual void WeightGrad(const SavedInput& saved, const at::Tensor& output_grads,
                          const at::Tensor& coefficients_B,
                          absl::Span<const at::Tensor> gradients) const = 0;

  // Verbs 3 and 4 in one, only where held_form() is kSlab (the default dies): overwrites each
  // example's gradient in `slabs` (per parameter of the unit [B, elements], rows may be far apart)
  // and adds its squared norm to `norm_sq_B`.
  virtual void ExampleGrads(const SavedInput& saved, const at::Tensor& output_grads,
                            absl::Span<const at::Tensor> slabs, const at::Tensor& norm_sq_B) const;

  virtual HeldForm held_form() const { return HeldForm::kSlab; }

 private:
  const std::vector<int> parameters_;
};

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_LAYER_H_
