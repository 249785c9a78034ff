#include "worker/models/gpt2.h"

#include <cmath>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/models/gpt2_block.h"
#include "worker/models/gpt2_ends.h"
#include "worker/models/unit_layers.h"

namespace sotto::models {
namespace {

// Finds parameters of one unit by the end of their name; remembers the first that is missing.
class Finder {
 public:
  explicit Finder(const layout::UnitDescription& unit) : unit_(unit) {}

  int operator()(absl::string_view suffix) {
    for (size_t i = 0; i < unit_.parameters.size(); ++i) {
      if (absl::EndsWith(unit_.parameters[i].name, suffix)) return static_cast<int>(i);
    }
    if (status_.ok()) {
      status_ = absl::InvalidArgumentError(
          absl::StrCat("unit \"", unit_.name, "\" must have a parameter \"", suffix, "\""));
    }
    return 0;
  }

  const absl::Status& status() const { return status_; }

 private:
  const layout::UnitDescription& unit_;
  absl::Status status_;
};

nn::ActivationKind KindOf(layout::Activation activation) {
  switch (activation) {
    case layout::Activation::kGeluTanh:
      return nn::ActivationKind::kGeluTanh;
    case layout::Activation::kGelu:
      return nn::ActivationKind::kGelu;
    case layout::Activation::kRelu:
      return nn::ActivationKind::kRelu;
    case layout::Activation::kSilu:
      return nn::ActivationKind::kSilu;
  }
  return nn::ActivationKind::kGeluTanh;
}

// `index`: the block's number, from 1.
Gpt2Block::Options OptionsOf(const layout::Gpt2Dimensions& dimensions, int index) {
  double scale = 1;
  if (dimensions.scale_attention) {
    scale /= std::sqrt(static_cast<double>(dimensions.width / dimensions.heads));
  }
  if (dimensions.scale_attention_by_layer) scale /= index;
  return {.heads = dimensions.heads,
          .attention_scale = scale,
          .activation = KindOf(dimensions.activation),
          .layer_norm_epsilon = dimensions.layer_norm_epsilon};
}

absl::StatusOr<std::unique_ptr<Stage>> MakeBlock(const layout::Gpt2Dimensions& dimensions,
                                                 const layout::UnitDescription& unit, int index) {
  Finder find(unit);
  const Gpt2Block::Parameters parameters = {
      .ln_1_gain = find("ln_1.weight"),
      .ln_1_bias = find("ln_1.bias"),
      .attention_weight = find("attn.c_attn.weight"),
      .attention_bias = find("attn.c_attn.bias"),
      .projection_weight = find("attn.c_proj.weight"),
      .projection_bias = find("attn.c_proj.bias"),
      .ln_2_gain = find("ln_2.weight"),
      .ln_2_bias = find("ln_2.bias"),
      .fc_weight = find("mlp.c_fc.weight"),
      .fc_bias = find("mlp.c_fc.bias"),
      .mlp_projection_weight = find("mlp.c_proj.weight"),
      .mlp_projection_bias = find("mlp.c_proj.bias"),
  };
  RETURN_IF_ERROR(find.status());
  return std::make_unique<Gpt2Block>(index, unit, parameters, OptionsOf(dimensions, index));
}

}  // namespace

absl::StatusOr<std::vector<std::unique_ptr<Stage>>> MakeGpt2Stages(
    const layout::Gpt2Dimensions& dimensions, const layout::ModelDescription& description,
    const Model::Options& options) {
  const auto tied = dimensions.tied_head ? std::make_shared<TiedState>() : nullptr;
  const layout::UnitDescription& root = description.units[0];
  Finder find(root);
  const auto embedding_options = [&root](int weight) {
    return nn::EmbeddingOptions{
        .weight = weight, .frozen = IsFrozen(root, weight), .index = LayerIndex(root, weight)};
  };
  const nn::EmbeddingOptions tokens = embedding_options(find("wte.weight"));
  const Gpt2Embedding::Options embedding = {.unit = 0,
                                            .tokens = tokens,
                                            .positions = embedding_options(find("wpe.weight")),
                                            .tied = tied};
  const int gain = find("ln_f.weight");
  const int bias = find("ln_f.bias");
  const Gpt2Head::Options head = {
      .unit = 0,
      .ln_f = LayerNormOptions(root, gain, bias, dimensions.layer_norm_epsilon),
      .weight = dimensions.tied_head ? tokens : embedding_options(find("lm_head.weight")),
      .tied = tied,
      .loss_reduction = options.loss_reduction,
      .head_chunk_bytes = options.head_chunk_bytes,
  };
  RETURN_IF_ERROR(find.status());

  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(std::make_unique<Gpt2Embedding>(embedding));
  for (size_t i = 1; i < description.units.size(); ++i) {
    ASSIGN_OR_RETURN(std::unique_ptr<Stage> block,
                     MakeBlock(dimensions, description.units[i], static_cast<int>(i)));
    stages.push_back(std::move(block));
  }
  stages.push_back(std::make_unique<Gpt2Head>(head));
  return stages;
}

}  // namespace sotto::models
