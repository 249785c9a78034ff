#ifndef SOTTO_WORKER_MODELS_LOSS_REDUCTION_H_
#define SOTTO_WORKER_MODELS_LOSS_REDUCTION_H_

namespace sotto::models {

// How an example's loss is formed from the losses of its own scored tokens.
enum class LossReduction { kMean, kSum };

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_LOSS_REDUCTION_H_
