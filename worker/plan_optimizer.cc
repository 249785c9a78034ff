#include "worker/plan_optimizer.h"

#include <utility>

#include "worker/optim/adamw.h"
#include "worker/optim/sgd.h"
#include "worker/plan_schedule.h"

namespace sotto {
namespace {

std::vector<optim::ParameterShard> ShardsOf(const fsdp::ShardedParameters& parameters) {
  const int rank = parameters.shard_rank();
  std::vector<optim::ParameterShard> shards;
  for (int unit = 0; unit < parameters.layout().num_units(); ++unit) {
    optim::ParameterShard shard{.values = parameters.MasterShard(unit)};
    for (const layout::Interval& decays :
         parameters.layout().DecayIntervals(parameters.model(), unit, rank)) {
      shard.decayed.push_back({decays.begin, decays.end});
    }
    shards.push_back(std::move(shard));
  }
  return shards;
}

}  // namespace

std::unique_ptr<optim::Optimizer> MakeOptimizer(const v1::JobPlan& plan,
                                                fsdp::ShardedParameters& parameters) {
  const v1::OptimizerSpec& spec = plan.spec().train().optimizer();
  std::vector<optim::ParameterShard> shards = ShardsOf(parameters);
  if (spec.has_sgd()) {
    return std::make_unique<optim::Sgd>(
        optim::Sgd::Options{.momentum = spec.sgd().momentum(),
                            .weight_decay = spec.sgd().weight_decay()},
        std::move(shards));
  }
  optim::AdamW::Options options;
  if (spec.adamw().has_beta1()) options.beta1 = spec.adamw().beta1();
  if (spec.adamw().has_beta2()) options.beta2 = spec.adamw().beta2();
  if (spec.adamw().has_epsilon()) options.epsilon = spec.adamw().epsilon();
  options.weight_decay = spec.adamw().weight_decay();
  if (spec.adamw().has_noise_correction()) {
    options.noise_correction_floor = plan.train().optimizer_floor();
  }
  return std::make_unique<optim::AdamW>(options, std::move(shards));
}

optim::LearningRateSchedule::Options LearningRateOptions(const v1::JobPlan& plan) {
  const v1::LearningRateSpec& spec = plan.spec().train().learning_rate();
  return {.peak = spec.peak(),
          .warmup_steps = spec.warmup_steps(),
          .decay = ScheduleOf(spec, plan.train().steps() - spec.warmup_steps())};
}

}  // namespace sotto
