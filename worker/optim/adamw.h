// AdamW (Loshchilov and Hutter 2019).
#ifndef SOTTO_WORKER_OPTIM_ADAMW_H_
#define SOTTO_WORKER_OPTIM_ADAMW_H_

#include <string>
#include <vector>

#include "worker/optim/optimizer.h"

namespace sotto::optim {

// m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  w -= lr (m^ / (sqrt(v^) + epsilon) + weight_decay
// w), bias-corrected m^, v^, decay on the `decayed` elements only.
class AdamW : public Optimizer {
 public:
  struct Options {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0;  // decoupled
  };

  AdamW(Options options, std::vector<ParameterShard> shards);

  absl::Status Step(const dp::NoisedGradient& gradient, double learning_rate,
                    int64_t step) override;
  std::string name() const override { return "adamw"; }
  std::vector<StateTensor> State() override;

 private:
  Options options_;
  std::vector<ParameterShard> shards_;
  std::vector<at::Tensor> m_;
  std::vector<at::Tensor> v_;
};

}  // namespace sotto::optim

#endif  // SOTTO_WORKER_OPTIM_ADAMW_H_
