#include "tests/equivalence/sum_step.h"

#include <cmath>
#include <optional>

#include "ATen/Functions.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/layout/init_values.h"
#include "tests/equivalence/autograd_all_layers.h"
#include "tests/equivalence/mode_run.h"
#include "worker/models/testing/all_layers_description.h"

namespace sotto::equivalence {
namespace {

models::AllLayersOptions ModelOptions(bool tied_head) {
  return {.vocabulary_size = 29, .max_length = 12, .tied_head = tied_head};
}

// Examples of up to T tokens; `unscored` of them, if any, scores nothing.
models::MicroBatch MakeBatch(int64_t examples, int64_t tokens, int64_t first_id, int64_t unscored) {
  models::MicroBatch batch{.tokens_BT = at::empty({examples, tokens}, at::kLong),
                           .loss_mask_BT = at::ones({examples, tokens})};
  int64_t* token = batch.tokens_BT.data_ptr<int64_t>();
  for (int64_t i = 0; i < examples * tokens; ++i) token[i] = (i * i * 7 + first_id * 5 + i) % 29;
  batch.loss_mask_BT.select(1, 0).zero_();
  for (int64_t b = 0; b < examples; ++b) {
    const int64_t length = tokens - (first_id + b) % 3;
    batch.loss_mask_BT[b].narrow(0, length, tokens - length).zero_();
    if (b == unscored) batch.loss_mask_BT[b].zero_();
    batch.example_ids.push_back(first_id + b);
  }
  return batch;
}

models::MicroBatch Dummy() {
  return {.tokens_BT = at::zeros({2, 5}, at::kLong),
          .loss_mask_BT = at::zeros({2, 5}),
          .example_ids = {-1, -1}};
}

}  // namespace

std::vector<SumCase> CasesOf(int world_size, bool tied_head) {
  const layout::UnitMode books = *layout::FindMode("flash_bk");
  const layout::UnitMode held = *layout::FindMode("per_example");
  const layout::ModelDescription model = SumModel(tied_head);
  std::vector<SumCase> cases;
  for (const layout::NamedStrategy& strategy : layout::kStrategies) {
    const std::optional<layout::RankGrid> grid =
        layout::MakeRankGrid(strategy.strategy, world_size, world_size / 2);
    if (!grid.has_value()) continue;
    for (const layout::NamedMode& mode : layout::kGradientModes) {
      const std::string name = absl::StrCat(strategy.name, " ", mode.name);
      cases.push_back({name, strategy.strategy, mode.mode, {}, grid->shards});
      if (mode.mode.norm == layout::Norm::kNone) continue;
      cases.push_back({absl::StrCat(name, " deferred"),
                       strategy.strategy,
                       layout::WithDeferredNorms(mode.mode),
                       {},
                       grid->shards});
    }
    for (const size_t shift : {0, 1}) {
      cases.push_back({absl::StrCat(strategy.name, " auto ", shift), strategy.strategy, held,
                       MixedModes(model, {books, held}, shift), grid->shards});
    }
  }
  return cases;
}

layout::ModelDescription SumModel(bool tied_head) {
  layout::ModelDescription model = models::DescribeAllLayers(ModelOptions(tied_head));
  for (layout::UnitDescription& unit : model.units) {
    for (layout::ParameterDescription& parameter : unit.parameters) {
      // Wide enough that every gradient counts.
      const int64_t fan_in = parameter.num_elements() / parameter.shape.front();
      parameter.init = layout::Init::kNormal;
      parameter.init_stddev = 0.7 / std::sqrt(static_cast<double>(fan_in));
    }
  }
  return model;
}

UnitTensors SumParameters(const layout::ModelDescription& model) {
  UnitTensors parameters;
  int64_t index = 0;
  for (const layout::UnitDescription& unit : model.units) {
    std::vector<at::Tensor>& tensors = parameters.emplace_back();
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      at::Tensor& tensor = tensors.emplace_back(at::empty(parameter.shape));
      layout::FillInitialValues(
          parameter, kSumSeed, index++, 0,
          absl::MakeSpan(tensor.data_ptr<float>(), static_cast<size_t>(tensor.numel())));
    }
  }
  return parameters;
}

std::vector<models::MicroBatch> SumMicroBatches() {
  return {MakeBatch(3, 8, 0, -1), MakeBatch(4, 8, 3, 1), MakeBatch(1, 12, 7, -1),
          MakeBatch(4, 12, 8, -1), MakeBatch(2, 5, 12, -1)};
}

int MicroBatchesPerRank(int world_size) {
  const int batches = static_cast<int>(SumMicroBatches().size());
  return (batches + world_size - 1) / world_size;
}

models::MicroBatch MicroBatchOf(int world_size, int rank, int index) {
  const std::vector<models::MicroBatch> batches = SumMicroBatches();
  const auto j = static_cast<size_t>(index * world_size + rank);
  return j < batches.size() ? batches[j] : Dummy();
}

std::vector<ExampleGradient> OracleGradients(const layout::ModelDescription& model) {
  const UnitTensors parameters = SumParameters(model);
  std::vector<ExampleGradient> examples;
  for (const models::MicroBatch& batch : SumMicroBatches()) {
    for (int64_t b = 0; b < batch.tokens_BT.size(0); ++b) {
      examples.push_back(AutogradAllLayers(model, parameters, batch.tokens_BT[b],
                                           batch.loss_mask_BT[b], /*mean_loss=*/true));
    }
  }
  return examples;
}

std::vector<double> LastNorms(const std::vector<ExampleGradient>& examples, int world_size,
                              int rank) {
  const std::vector<models::MicroBatch> batches = SumMicroBatches();
  const auto last = static_cast<size_t>((MicroBatchesPerRank(world_size) - 1) * world_size + rank);
  if (last >= batches.size()) return std::vector<double>(Dummy().example_ids.size());
  size_t begin = 0;
  for (size_t i = 0; i < last; ++i) begin += batches[i].example_ids.size();
  std::vector<double> norms;
  for (size_t b = 0; b < batches[last].example_ids.size(); ++b) {
    norms.push_back(examples[begin + b].norm);
  }
  return norms;
}

}  // namespace sotto::equivalence
