// What the verbs of one layer (worker/nn/layer.h) allocate for a micro-batch, in fp32 values.
#ifndef SOTTO_COMMON_LAYOUT_LAYER_MEMORY_H_
#define SOTTO_COMMON_LAYOUT_LAYER_MEMORY_H_

#include <cstdint>

#include "common/layout/model_description.h"

namespace sotto::layout {

class LayerMemory {
 public:
  struct Shape {
    int64_t examples = 1;
    int64_t tokens = 1;
    int threads = 1;
  };

  // `unit` outlives the object.
  LayerMemory(const UnitDescription& unit, int layer, const Shape& shape);

  // Whether the layer is handed to sinks at all, and whether its first parameter is trained (a
  // linear map keeps its input for that one only).
  bool is_trainable() const { return is_trainable_; }
  bool trains_weight() const { return trains_weight_; }
  // Embeddings: the tokens are the batch's, and an example's gradient is its output gradients.
  bool is_lookup() const;
  // Its example's gradients are held in a slab (HeldForm::kSlab).
  bool has_slab() const { return is_trainable_ && !is_lookup(); }

  bool is_tied() const { return layer_.kind == LayerKind::kTiedEmbedding; }
  bool is_convolution() const { return layer_.kind == LayerKind::kConv2d; }
  // What each of a convolution's Forward, BackwardInput and WeightGrad needs for itself, with an
  // input of `input` values: an upper bound. oneDNN may bring operands and result of one pass into
  // another order of memory with more channels, which is its choice for the CPU.
  double ConvolutionScratch(double input) const;

  // Forward: the output, whether the input is kept, and what is kept besides.
  double Output() const;
  bool keeps_input() const;
  double Statistics() const;
  // BackwardInput; 0 for a layer whose input has no gradient.
  double InputGrad() const;

  // What AddExampleNormSq, ExampleGrads and WeightGrad (with coefficients or without) need for
  // themselves. `examples` < 0: all; of a head, those of one range.
  double NormScratch() const;
  double HoldScratch() const;
  double WeightGradScratch(bool scaled, double examples = -1) const;
  // What AddExampleNormSq needs besides under Norm::kGram: both T x T matrices of one example on
  // each thread that has one of `examples`. A tied embedding's: at its head's call site.
  double GramScratch(double examples) const;
  // One gradient per example, rows on cache lines.
  double Slab() const;

 private:
  double Rows() const;
  double PatchesOfExample() const;
  // A linear map's or a convolution's product with the batch; not a tied embedding's lookup.
  bool IsNorm() const;

  const UnitDescription& unit_;
  const LayerDescription& layer_;
  const Shape shape_;
  bool is_trainable_ = false;
  bool trains_weight_ = false;
  bool trains_bias_ = false;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_LAYER_MEMORY_H_
