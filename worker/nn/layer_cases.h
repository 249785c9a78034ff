// Layers, their shapes and what they compute, for tests of the four verbs.
#ifndef SOTTO_WORKER_NN_LAYER_CASES_H_
#define SOTTO_WORKER_NN_LAYER_CASES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "torch/torch.h"
#include "worker/nn/layer.h"

namespace sotto::nn {

using Shapes = std::vector<std::vector<int64_t>>;
using Tensors = std::vector<torch::Tensor>;

struct LayerCase {
  std::string name;
  std::function<std::unique_ptr<Layer>()> make;
  Shapes parameters;
  std::vector<int64_t> input;  // [B, ...]
  // In the dtype of its arguments; the input is int64 for embeddings.
  std::function<torch::Tensor(const Tensors& parameters, const torch::Tensor& input)> reference;
  int64_t vocabulary = 0;  // of an input of tokens
};

// Keeps the bytes of a case out of messages.
inline void PrintTo(const LayerCase& c, std::ostream* out) { *out << c.name; }

// Linear, convolution, norm and embedding layers, frozen parts included.
std::vector<LayerCase> LayerCases();

}  // namespace sotto::nn

#endif  // SOTTO_WORKER_NN_LAYER_CASES_H_
