#ifndef SOTTO_WORKER_MODELS_LAYER_FINDER_H_
#define SOTTO_WORKER_MODELS_LAYER_FINDER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/layout/model_description.h"
#include "worker/models/parameter_finder.h"
#include "worker/models/unit_layers.h"

namespace sotto::models {

// Options of a unit's layers by the end of their names; weights are [out, in]. Remembers the first
// parameter that is missing. Borrows the unit.
class LayerFinder {
 public:
  explicit LayerFinder(const layout::UnitDescription& unit, double lora_alpha = 0)
      : unit_(unit), find_(unit), lora_alpha_(lora_alpha) {}

  // With a bias where the unit has one.
  nn::LoraLinear::Options Linear(const std::string& name) {
    const int weight = find_(absl::StrCat(name, ".weight"));
    if (weight == ParameterFinder::kNone) return {};
    return LinearOptions(unit_, weight, find_.Optional(absl::StrCat(name, ".bias")),
                         nn::Linear::WeightLayout::kOutputInput, lora_alpha_);
  }

  nn::LayerNorm::Options LayerNorm(const std::string& name, double epsilon) {
    const int gain = find_(absl::StrCat(name, ".weight"));
    return LayerNormOptions(unit_, gain, find_(absl::StrCat(name, ".bias")), epsilon);
  }

  nn::EmbeddingOptions Table(const std::string& name) {
    return EmbeddingOptionsOf(unit_, find_(absl::StrCat(name, ".weight")));
  }

  int Parameter(const std::string& name) { return find_(name); }

  // INVALID_ARGUMENT: a parameter that was asked for is missing.
  const absl::Status& status() const { return find_.status(); }

 private:
  const layout::UnitDescription& unit_;
  ParameterFinder find_;
  const double lora_alpha_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_LAYER_FINDER_H_
