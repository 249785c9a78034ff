#include "common/layout/layer_memory.h"

#include <algorithm>

namespace sotto::layout {
namespace {

// Rows of a slab start on a cache line (worker/dp/held_gradients).
constexpr int64_t kSlabAlignment = 16;
// Rows of the tile in which a tied embedding's cross term is formed (worker/nn/tied_embedding).
constexpr int64_t kCrossTile = 128;

// Inputs and outputs of one pass of a convolution (worker/nn/conv2d).
constexpr double kPassElements = 1 << 18;
// Operand and result in oneDNN's order, the result in ours; a half more for channels that fill up
// its vectors.
constexpr double kPassCopies = 3;

}  // namespace

LayerMemory::LayerMemory(const UnitDescription& unit, int layer, const Shape& shape)
    : unit_(unit), layer_(unit.layers[layer]), shape_(shape) {
  const std::vector<int>& parameters = layer_.parameters;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!unit.parameters[parameters[i]].trainable) continue;
    is_trainable_ = true;
    (i == 0 ? trains_weight_ : trains_bias_) = true;
  }
}

bool LayerMemory::is_lookup() const {
  return layer_.kind == LayerKind::kEmbedding || layer_.kind == LayerKind::kPositions;
}

bool LayerMemory::IsNorm() const {
  return layer_.kind == LayerKind::kLayerNorm || layer_.kind == LayerKind::kRmsNorm ||
         layer_.kind == LayerKind::kGroupNorm;
}

double LayerMemory::Rows() const {
  return static_cast<double>(shape_.examples) * layer_.Rows(shape_.tokens);
}

double LayerMemory::Output() const { return Rows() * static_cast<double>(layer_.outputs); }

bool LayerMemory::keeps_input() const {
  if (layer_.kind == LayerKind::kLinear) return trains_weight_;
  return IsNorm() || layer_.kind == LayerKind::kConv2d;
}

// Mean and reciprocal deviation, or the latter alone; of GroupNorm for each group, of which there
// are as many as channels at most.
double LayerMemory::Statistics() const {
  if (layer_.kind == LayerKind::kLayerNorm) return 2 * Rows();
  if (layer_.kind == LayerKind::kGroupNorm) {
    return 2 * static_cast<double>(shape_.examples * layer_.outputs);
  }
  return layer_.kind == LayerKind::kRmsNorm ? Rows() : 0;
}

double LayerMemory::InputGrad() const {
  if (is_lookup() || layer_.kind == LayerKind::kTiedEmbedding) return 0;
  return Rows() * static_cast<double>(layer_.inputs);
}

double LayerMemory::ConvolutionScratch(double input) const {
  const auto weight = static_cast<double>(layer_.inputs * layer_.outputs);
  const double all = Output() + input;
  const double example = all / static_cast<double>(std::max<int64_t>(1, shape_.examples));
  const double pass = std::min(all, std::max({kPassElements, weight, example}));
  return kPassCopies * (pass + weight);
}

double LayerMemory::NormScratch() const {
  if (layer_.kind == LayerKind::kTiedEmbedding) {
    const int64_t tiles = layer_.inputs < shape_.tokens ? 2 : 1;  // Gradients are gathered.
    const int64_t tile = tiles * std::min(kCrossTile, shape_.tokens) * shape_.tokens;
    return static_cast<double>(std::min<int64_t>(shape_.threads, shape_.examples) * tile);
  }
  if (layer_.kind == LayerKind::kConv2d) return PatchesOfExample();
  return IsNorm() ? WeightGradScratch(/*scaled=*/false) : 0;
}

// worker/nn/outer_product_norm; one row is measured without them.
double LayerMemory::GramScratch(double examples) const {
  const bool is_product = layer_.kind == LayerKind::kLinear || is_convolution() ||
                          layer_.kind == LayerKind::kTiedEmbedding;
  const double rows = layer_.Rows(shape_.tokens);
  if (!is_product || !trains_weight_ || rows < 2) return 0;
  return 2 * rows * rows * std::min(static_cast<double>(shape_.threads), examples);
}

double LayerMemory::HoldScratch() const {
  return IsNorm() || layer_.kind == LayerKind::kConv2d ? NormScratch() : 0;
}

// An example's patches, position by position and channel by channel, and its output gradients.
double LayerMemory::PatchesOfExample() const {
  return layer_.Rows(shape_.tokens) * static_cast<double>(2 * layer_.inputs + layer_.outputs);
}

double LayerMemory::WeightGradScratch(bool scaled, double examples) const {
  const double share = examples < 0 ? 1 : examples / static_cast<double>(shape_.examples);
  if (IsNorm()) {  // One row per example, of gain and bias.
    return static_cast<double>(shape_.examples * layer_.outputs) *
           (layer_.kind == LayerKind::kRmsNorm ? 1 : 2);
  }
  if (is_lookup() || is_convolution()) return 0;     // ConvolutionScratch.
  const double factors = trains_bias_ ? Rows() : 0;  // One per row.
  if (!trains_weight_ || !scaled) return factors;
  // The narrower of input and output gradients, each row times its example's coefficient.
  const auto narrower = static_cast<double>(std::min(layer_.inputs, layer_.outputs));
  return share * std::max(factors, Rows() * narrower);
}

double LayerMemory::Slab() const {
  if (!has_slab()) return 0;
  double elements = 0;
  for (int parameter : layer_.parameters) {
    const ParameterDescription& description = unit_.parameters[parameter];
    if (!description.trainable) continue;
    elements += static_cast<double>((description.num_elements() + kSlabAlignment - 1) /
                                    kSlabAlignment * kSlabAlignment);
  }
  return static_cast<double>(shape_.examples) * elements;
}

}  // namespace sotto::layout
