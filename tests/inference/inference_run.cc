#include "tests/inference/inference_run.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/layout/flat_layout.h"
#include "common/layout/memory.h"
#include "common/layout/model_description.h"
#include "common/layout/strategy.h"
#include "common/spec/hugging_face_model.h"
#include "common/spec/model_layout.h"
#include "tools/check/rank_threads.h"
#include "worker/infer/inference.h"

namespace sotto::inference {
namespace {

absl::StatusOr<int64_t> CommunicatorBytes(const v1::JobPlan& plan) {
  ASSIGN_OR_RETURN(const layout::ModelDescription model, spec::DescribeModel(plan.spec().model()));
  const v1::ShardingPlan& sharding = plan.sharding();
  const auto grid =
      layout::MakeRankGrid(*layout::FindStrategy(v1::Strategy_Name(sharding.strategy())),
                           sharding.world_size(), sharding.shard_group_size());
  ASSIGN_OR_RETURN(const layout::FlatLayout layout,
                   layout::FlatLayout::Create(model, grid->shards));
  return layout::CommunicatorBytes(layout, sharding.world_size());
}

}  // namespace

std::string Describe(const Ranks& ranks) {
  return absl::StrCat(v1::Strategy_Name(ranks.strategy), " ", ranks.world_size);
}

v1::JobPlan PlanOf(const std::string& directory, const v1::InferenceSpec& spec,
                   const Ranks& ranks) {
  v1::JobPlan plan;
  *plan.mutable_spec()->mutable_inference() = spec;
  v1::ModelSpec& model = *plan.mutable_spec()->mutable_model();
  model.set_hugging_face_directory(directory);
  spec::CompleteModel(model).IgnoreError();  // A model without family is refused later, by name.
  v1::ShardingPlan& sharding = *plan.mutable_sharding();
  sharding.set_world_size(ranks.world_size);
  sharding.set_strategy(ranks.strategy);
  sharding.set_shard_group_size(ranks.shard_group_size);
  sharding.set_threads_per_rank(1);
  sharding.set_gathered_slots(2);
  plan.mutable_inference();
  return plan;
}

absl::Status RunOnRanks(const v1::JobPlan& plan, const infer::Options& options,
                        infer::Outcome* outcome) {
  ASSIGN_OR_RETURN(const int64_t bytes, CommunicatorBytes(plan));
  return check::RunAsThreads(plan.sharding().world_size(), bytes,
                             [&](comm::Communicator& communicator) -> absl::Status {
                               ASSIGN_OR_RETURN(const infer::Outcome rank_outcome,
                                                infer::RunInference(plan, communicator, options));
                               if (outcome != nullptr && communicator.rank() == 0)
                                 *outcome = rank_outcome;
                               return absl::OkStatus();
                             });
}

std::string PromptLine(const std::vector<int64_t>& tokens,
                       const std::vector<int64_t>& continuation) {
  const std::string prompt = absl::StrCat("{\"tokens\": [", absl::StrJoin(tokens, ", "), "]");
  if (continuation.empty()) return prompt + "}\n";
  return absl::StrCat(prompt, ", \"continuation_tokens\": [", absl::StrJoin(continuation, ", "),
                      "]}\n");
}

}  // namespace sotto::inference
