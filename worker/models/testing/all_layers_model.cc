#include "worker/models/testing/all_layers_model.h"

#include <utility>
#include <vector>

#include "worker/models/language_head.h"
#include "worker/models/parameter_finder.h"
#include "worker/models/testing/attention_stage.h"
#include "worker/models/testing/convolution_stage.h"
#include "worker/models/testing/modulation_stage.h"
#include "worker/models/testing/plain_stages.h"
#include "worker/models/token_embedding.h"
#include "worker/models/unit_layers.h"

namespace sotto::models {

std::unique_ptr<Model> MakeAllLayersModel(const layout::ModelDescription& description,
                                          const Model::Options& options) {
  const layout::UnitDescription& root = description.units[0];
  const ParameterFinder find(root);
  const int head = find.Optional("lm_head.weight");
  const bool is_tied = head == ParameterFinder::kNone;
  const auto tied = is_tied ? std::make_shared<TiedState>() : nullptr;

  std::vector<std::unique_ptr<Stage>> stages;
  stages.push_back(std::make_unique<TokenEmbedding>(
      TokenEmbedding::Options{.unit = 0,
                              .tokens = EmbeddingOptionsOf(root, find.Optional("wte.weight")),
                              .positions = EmbeddingOptionsOf(root, find.Optional("wpe.weight")),
                              .tied = tied}));
  stages.push_back(std::make_unique<ConvolutionStage>(1, description.units[1]));
  stages.push_back(std::make_unique<AttentionStage>(2, description.units[2]));
  stages.push_back(std::make_unique<ModulationStage>(3, description.units[3]));
  stages.push_back(std::make_unique<ResidualLinearStage>(4, description.units[4]));
  stages.push_back(std::make_unique<ScaleStage>(5, description.units[5]));
  stages.push_back(std::make_unique<LanguageHead>(LanguageHead::Options{
      .unit = 0,
      .norm = LayerNormOptions(root, find.Optional("ln_f.weight"), find.Optional("ln_f.bias"),
                               AllLayersOptions::kEpsilon),
      .weight = EmbeddingOptionsOf(root, is_tied ? find.Optional("wte.weight") : head),
      .tied = tied,
      .loss_reduction = options.loss_reduction,
      .head_chunk_bytes = options.head_chunk_bytes,
  }));
  return Model::FromStages(std::move(stages));
}

}  // namespace sotto::models
