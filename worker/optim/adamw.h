// AdamW (Loshchilov and Hutter 2019), with the noise taken out of its second moment on request.
#ifndef SOTTO_WORKER_OPTIM_ADAMW_H_
#define SOTTO_WORKER_OPTIM_ADAMW_H_

#include <optional>
#include <string>
#include <vector>

#include "worker/optim/optimizer.h"

namespace sotto::optim {

// m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;  w -= lr (m^ / (sqrt(v^) + epsilon) + weight_decay
// w), bias-corrected m^, v^, decay on the `decayed` elements only.
//
// Noise adds its variance to v^, which then hardly knows the gradient (DP-AdamBC, Tang et al. 2024,
// arXiv 2312.14334). With a noise correction v^ becomes max(v^ - n^, floor), where n^ is v^'s own
// mean over the steps of the noise's variance, known from each release.
class AdamW : public Optimizer {
 public:
  struct Options {
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 0;  // decoupled
    // Of the corrected second moment, in squares of the mean gradient, > 0; unset: no correction.
    std::optional<double> noise_correction_floor;
  };

  AdamW(Options options, std::vector<ParameterShard> shards);

  absl::Status Step(const dp::NoisedGradient& gradient, double learning_rate,
                    int64_t step) override;
  std::string name() const override { return "adamw"; }
  std::vector<StateTensor> State() override;
  // "noise_second_moment" with a correction: n before its bias correction.
  std::vector<StateNumber> Numbers() override;

 private:
  Options options_;
  std::vector<ParameterShard> shards_;
  std::vector<at::Tensor> m_;
  std::vector<at::Tensor> v_;
  double noise_second_moment_ = 0;
};

}  // namespace sotto::optim

#endif  // SOTTO_WORKER_OPTIM_ADAMW_H_
