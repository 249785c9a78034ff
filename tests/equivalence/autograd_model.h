// GPT-2 written once more, in double precision and with autograd, one example at a time and without
// padding: shares nothing with worker/.
#ifndef SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_MODEL_H_
#define SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_MODEL_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "torch/torch.h"

namespace sotto::equivalence {

class AutogradGpt2 {
 public:
  // Double-precision leaves by Hugging Face name; without lm_head.weight the head is tied.
  AutogradGpt2(std::map<std::string, torch::Tensor> parameters, int64_t layers, int64_t heads)
      : parameters_(std::move(parameters)), layers_(layers), heads_(heads) {}

  // Mean loss over the scored tokens; a zero that depends on nothing without any.
  torch::Tensor Loss(const std::vector<int64_t>& tokens, const std::vector<float>& scored) const;

  std::map<std::string, torch::Tensor>& parameters() { return parameters_; }

 private:
  const torch::Tensor& Get(const std::string& name) const { return parameters_.at(name); }
  torch::Tensor Norm(const torch::Tensor& x, const std::string& name) const;
  torch::Tensor Linear(const torch::Tensor& x, const std::string& name) const;
  torch::Tensor Attention(const torch::Tensor& x, const std::string& block) const;

  std::map<std::string, torch::Tensor> parameters_;
  const int64_t layers_;
  const int64_t heads_;
};

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_AUTOGRAD_MODEL_H_
