// What a model is made of: units, parameters, shapes, initial distributions. No weights.
#ifndef SOTTO_COMMON_LAYOUT_MODEL_DESCRIPTION_H_
#define SOTTO_COMMON_LAYOUT_MODEL_DESCRIPTION_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "common/layout/activation.h"
#include "common/layout/encoder_dimensions.h"
#include "common/layout/image_dimensions.h"
#include "common/layout/layer_description.h"
#include "common/layout/llama_dimensions.h"
#include "common/layout/stage_trace.h"

namespace sotto::layout {

enum class Init { kZeros, kOnes, kNormal };

struct ParameterDescription {
  std::string name;            // Hugging Face's, e.g. "h.0.attn.c_attn.weight"
  std::vector<int64_t> shape;  // row-major, as Hugging Face stores it
  Init init = Init::kZeros;
  double init_stddev = 0;  // of kNormal
  bool weight_decay = false;
  // Frozen parameters keep their values: no norm, no gradient, no noise, no optimizer state.
  bool trainable = true;

  int64_t num_elements() const {
    int64_t product = 1;
    for (int64_t extent : shape) product *= extent;
    return product;
  }

  friend bool operator==(const ParameterDescription&, const ParameterDescription&) = default;
};

// Parameters that are gathered and reduced together.
struct UnitDescription {
  std::string name;
  std::vector<ParameterDescription> parameters;
  std::vector<LayerDescription> layers;  // every parameter belongs to exactly one

  bool has_trainable() const {
    for (const ParameterDescription& parameter : parameters) {
      if (parameter.trainable) return true;
    }
    return false;
  }

  friend bool operator==(const UnitDescription&, const UnitDescription&) = default;
};

struct Gpt2Dimensions {
  int64_t vocabulary_size = 0;
  int64_t width = 0;  // d, divisible by heads
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t max_length = 0;  // learned positions
  bool tied_head = true;
  double layer_norm_epsilon = 1e-5;
  double init_stddev = 0.02;
  int64_t mlp_width = 0;  // 0: 4 width
  Activation activation = Activation::kGeluTanh;
  bool scale_attention = true;            // scores over sqrt(width / heads)
  bool scale_attention_by_layer = false;  // and over the block's number, from 1

  friend bool operator==(const Gpt2Dimensions&, const Gpt2Dimensions&) = default;
};

// Units, and the stages of a forward pass over them. The canonical index of a parameter is its
// position when the units' parameters are listed one unit after the other.
struct ModelDescription {
  // None: a model that is built from stages (tests).
  std::variant<Gpt2Dimensions, LlamaDimensions, EncoderDimensions, MlpDimensions, CnnDimensions,
               VitDimensions, DitDimensions, std::monostate>
      family;
  std::vector<UnitDescription> units;  // units[0] is the root: embeddings, final norm, head
  std::vector<int> stages;             // unit of each stage in forward order: 0, 1, ..., N, 0
  std::vector<StageTrace> footprints;  // by stage; empty: memory is not planned
  int64_t vocabulary_size = 0;         // tokens of the data are below it; 0: images or vectors
  // Low-rank adapters (parameters NAME.lora_A.weight [rank, I], NAME.lora_B.weight [O, rank]) add
  // lora_alpha / rank times their product to NAME.weight.
  double lora_alpha = 0;

  int64_t num_elements() const {
    int64_t sum = 0;
    for (const UnitDescription& unit : units) {
      for (const ParameterDescription& parameter : unit.parameters) sum += parameter.num_elements();
    }
    return sum;
  }

  // Whether the stage holds trainable parameters. The root's layers that run in the last stage only
  // do not count for the first; without layer descriptions all of a unit's parameters count for
  // each of its stages.
  bool IsTrainableStage(int stage) const;
  // The same for every stage, as ScheduleOptions takes it.
  std::vector<bool> TrainableStages() const;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_MODEL_DESCRIPTION_H_
