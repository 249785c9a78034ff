// Stochastic gradient descent with momentum.
#ifndef SOTTO_WORKER_OPTIM_SGD_H_
#define SOTTO_WORKER_OPTIM_SGD_H_

#include <string>
#include <vector>

#include "worker/optim/optimizer.h"

namespace sotto::optim {

// buffer = momentum * buffer + g;  w -= lr * (buffer + weight_decay * w), decay on the `decayed`
// elements only.
class Sgd : public Optimizer {
 public:
  struct Options {
    double momentum = 0;      // [0, 1)
    double weight_decay = 0;  // decoupled
  };

  Sgd(Options options, std::vector<ParameterShard> shards);

  absl::Status Step(const dp::NoisedGradient& gradient, double learning_rate,
                    int64_t step) override;
  std::string name() const override { return "sgd"; }
  std::vector<StateTensor> State() override;

 private:
  Options options_;
  std::vector<ParameterShard> shards_;
  std::vector<at::Tensor> momentum_;  // empty without momentum
};

}  // namespace sotto::optim

#endif  // SOTTO_WORKER_OPTIM_SGD_H_
