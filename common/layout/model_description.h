// What a model is made of: units, parameters, shapes, initial distributions. No weights.
#ifndef SOTTO_COMMON_LAYOUT_MODEL_DESCRIPTION_H_
#define SOTTO_COMMON_LAYOUT_MODEL_DESCRIPTION_H_

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace sotto::layout {

enum class Init { kZeros, kOnes, kNormal };

struct ParameterDescription {
  std::string name;            // Hugging Face's, e.g. "h.0.attn.c_attn.weight"
  std::vector<int64_t> shape;  // row-major, as Hugging Face stores it
  Init init = Init::kZeros;
  double init_stddev = 0;  // of kNormal
  bool weight_decay = false;

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

  friend bool operator==(const Gpt2Dimensions&, const Gpt2Dimensions&) = default;
};

// Units, and the stages of a forward pass over them. The canonical index of a parameter is its
// position when the units' parameters are listed one unit after the other.
struct ModelDescription {
  std::variant<Gpt2Dimensions> family;
  std::vector<UnitDescription> units;  // units[0] is the root: embeddings, final norm, head
  std::vector<int> stages;             // unit of each stage in forward order: 0, 1, ..., N, 0

  int64_t num_elements() const {
    int64_t sum = 0;
    for (const UnitDescription& unit : units) {
      for (const ParameterDescription& parameter : unit.parameters) sum += parameter.num_elements();
    }
    return sum;
  }
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_MODEL_DESCRIPTION_H_
