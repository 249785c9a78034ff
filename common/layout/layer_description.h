// What a layer with parameters is, as far as planning must know: which norm rule it has and how
// large its activations and output gradients are.
#ifndef SOTTO_COMMON_LAYOUT_LAYER_DESCRIPTION_H_
#define SOTTO_COMMON_LAYOUT_LAYER_DESCRIPTION_H_

#include <cstdint>
#include <string>
#include <vector>

namespace sotto::layout {

enum class LayerKind {
  kLinear,
  kEmbedding,
  kPositions,      // learned positions
  kTiedEmbedding,  // embedding and head: one weight, two call sites
  kLayerNorm,
  kRmsNorm,
  kGroupNorm,
  kConv2d,
  kBatchNorm,  // known only to be refused: it mixes examples
};

// One layer, in the order of nn::Layer::index() within its unit.
struct LayerDescription {
  std::string name;  // the parameters' common prefix, e.g. "h.0.attn.c_attn"
  LayerKind kind = LayerKind::kLinear;
  // Of one row: linear maps I -> O; embeddings V -> d; norms d -> d; a convolution's patch and
  // output channels.
  int64_t inputs = 0;
  int64_t outputs = 0;
  // Rows that an example of T tokens has: rows_per_token * T, or one (T = 1: modulation layers,
  // heads on pooled values). A convolution over an image of fixed size has positions per token.
  double rows_per_token = 1;
  bool one_row_per_example = false;
  std::vector<int> parameters;  // positions in the unit's parameter list
  // Of the root unit: runs in the last stage only (final norm, untied head), not in the first.
  bool in_last_stage = false;

  // Rows of one example of `tokens` tokens.
  double Rows(int64_t tokens) const {
    return one_row_per_example ? 1 : rows_per_token * static_cast<double>(tokens);
  }

  friend bool operator==(const LayerDescription&, const LayerDescription&) = default;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_LAYER_DESCRIPTION_H_
