#ifndef SOTTO_WORKER_MODELS_TIED_STATE_H_
#define SOTTO_WORKER_MODELS_TIED_STATE_H_

#include "ATen/core/Tensor.h"

namespace sotto::models {

// What the head's backward leaves for the embedding's when they share a weight: the cross term of
// the norm.
struct TiedState {
  at::Tensor head_activations_BTD;
  at::Tensor head_grads;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_TIED_STATE_H_
