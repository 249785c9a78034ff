#ifndef SOTTO_WORKER_MODELS_STAGE_H_
#define SOTTO_WORKER_MODELS_STAGE_H_

#include "ATen/core/Tensor.h"
#include "absl/types/span.h"
#include "worker/models/inference_batch.h"
#include "worker/models/micro_batch.h"
#include "worker/nn/gradient_sink.h"

namespace sotto::models {

// One step of a model's forward order: the part of a unit that runs there (the root unit has two
// stages, the embedding and the head). A stage holds one micro-batch at a time. Externally
// synchronised.
//
// Per micro-batch: Forward once, Backward once or twice, Release. `parameters` are the views of the
// unit's gathered slot in the layout's order; they are read during the call and never kept.
class Stage {
 public:
  virtual ~Stage() = default;

  // The unit whose parameters the stage reads (index into ModelDescription::units).
  virtual int unit() const = 0;

  // Returns the next stage's input. The first stage ignores `input`; the last returns each
  // example's loss [B] (float32: mean or sum over its own scored tokens, 0 without any). Keeps what
  // Backward needs until Release().
  virtual at::Tensor Forward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                             const at::Tensor& input) = 0;

  // Hands every layer with parameters to `sink`, in backward order, and returns the gradient of the
  // stage's input (undefined for the first stage). The last stage ignores `output_grads`: it starts
  // from d(sum_b loss_b). The first stage's Backward needs the last stage's of the same pass to
  // have run (tied weights).
  virtual at::Tensor Backward(absl::Span<const at::Tensor> parameters, const MicroBatch& batch,
                              const at::Tensor& output_grads, nn::GradientSink& sink) = 0;

  // Forward of new tokens without a loss: keeps nothing but what `batch.caches` take. Returns the
  // next stage's input; the last stage the logits, float32 [rows, V]. Undefined: the stage is not
  // one of a language model.
  virtual at::Tensor Infer(absl::Span<const at::Tensor>, const InferenceBatch&, const at::Tensor&) {
    return at::Tensor();
  }

  // Of a classifier's last stage, after Forward: bool [B], whether the label has the largest
  // output; false without a label. Undefined elsewhere.
  virtual at::Tensor found_label_B() const { return at::Tensor(); }

  // Drops what Forward kept. Idempotent.
  virtual void Release() = 0;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_STAGE_H_
