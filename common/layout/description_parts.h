// What the descriptions of all families are put together from.
#ifndef SOTTO_COMMON_LAYOUT_DESCRIPTION_PARTS_H_
#define SOTTO_COMMON_LAYOUT_DESCRIPTION_PARTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/layout/model_description.h"
#include "common/layout/trace_builder.h"

namespace sotto::layout {

// INVALID_ARGUMENT "FAMILY.NAME must be at least MINIMUM, but is VALUE".
absl::Status RequireAtLeast(absl::string_view family, absl::string_view name, int64_t value,
                            int64_t minimum);

// INVALID_ARGUMENT unless `value` is finite and positive, or zero where that is allowed.
absl::Status RequirePositive(absl::string_view family, absl::string_view name, double value,
                             bool zero_allowed = false);

// Puts a unit together: parameters are added layer by layer, and each layer knows its own.
class UnitBuilder {
 public:
  explicit UnitBuilder(std::string name) { unit_.name = std::move(name); }

  // `weight_shape` normal with `stddev`, decayed; then a zero bias [outputs] where `bias` is set.
  // Parameters are named NAME.weight, NAME.bias.
  UnitBuilder& Linear(const std::string& name, std::vector<int64_t> weight_shape, int64_t inputs,
                      int64_t outputs, bool bias, double stddev);
  // [rows, width], normal, decayed.
  UnitBuilder& Table(const std::string& name, LayerKind kind, int64_t rows, int64_t width,
                     double stddev);
  // Ones, then zeros.
  UnitBuilder& LayerNorm(const std::string& name, int64_t width);
  // Ones.
  UnitBuilder& RmsNorm(const std::string& name, int64_t width);

  // [O, I, height, width] without bias, normal with `stddev`, decayed.
  UnitBuilder& Conv2d(const std::string& name, std::vector<int64_t> weight_shape, double stddev);
  // Ones, then zeros, one of each per channel.
  UnitBuilder& GroupNorm(const std::string& name, int64_t channels);

  // Of the layer added last: runs in the last stage only; has one row per example, or
  // several per token.
  UnitBuilder& InLastStage();
  UnitBuilder& OneRowPerExample();
  UnitBuilder& RowsPerToken(double rows);

  UnitDescription Build() { return std::move(unit_); }

 private:
  int Add(ParameterDescription parameter);
  UnitBuilder& AddLayer(const std::string& name, LayerKind kind, int64_t inputs, int64_t outputs,
                        std::vector<int> parameters);

  UnitDescription unit_;
};

// What the stages of a model of like blocks allocate.
struct StageTraces {
  StageTrace embedding;
  StageTrace block;
  StageTrace head;
};

// Fills units, stages and footprints of `model`: the root runs first (its activations are the first
// block's input) and last, each of `blocks` blocks once between. `traces` gets the root and the
// first block.
void AddUnits(
    UnitDescription root, int64_t blocks,
    absl::FunctionRef<UnitDescription(int64_t index)> make_block,
    absl::FunctionRef<StageTraces(const UnitDescription& root, const UnitDescription& block)>
        traces,
    ModelDescription& model);

// worker/models/self_attention.cc and feed_forward.h, line by line: over layers attention.qkv and
// attention.output, mlp.up and mlp.down, with `rows` rows for every token of the example.
struct BranchSizes {
  double rows = 1;
  double width = 0;
  double mlp_width = 0;
  double heads = 0;
};
TraceBuilder::Value TraceAttention(const BranchSizes& sizes, TraceBuilder::Value input,
                                   TraceBuilder& t);
TraceBuilder::Value TraceAttentionBackward(const BranchSizes& sizes,
                                           TraceBuilder::Value output_grads, TraceBuilder& t);
TraceBuilder::Value TraceFeedForward(const BranchSizes& sizes, TraceBuilder::Value input,
                                     TraceBuilder& t);
TraceBuilder::Value TraceFeedForwardBackward(const BranchSizes& sizes,
                                             TraceBuilder::Value output_grads, TraceBuilder& t);

// worker/models/encoder_block.cc.
StageTrace EncoderBlockTrace(const UnitDescription& block, const BranchSizes& sizes);

// Of an embedding, with positions where `positions` is not empty; of a language head after a norm.
StageTrace EmbeddingTrace(const UnitDescription& root, absl::string_view tokens,
                          absl::string_view positions);
StageTrace LanguageHeadTrace(const UnitDescription& root, absl::string_view norm,
                             absl::string_view head);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_DESCRIPTION_PARTS_H_
