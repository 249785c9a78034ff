#include "worker/training_assembly.h"

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/schedule_options.h"
#include "common/spec/model_layout.h"
#include "common/spec/sharding_choice.h"
#include "worker/memory/tensor_memory.h"
#include "worker/plan_clipping.h"
#include "worker/plan_files.h"
#include "worker/plan_manifest.h"
#include "worker/plan_optimizer.h"
#include "worker/plan_privacy.h"
#include "worker/plan_sharding.h"
#include "worker/train/agreement.h"
#include "worker/train/failure_reason.h"

namespace sotto {
namespace {

using train::FailureReason;
using train::WithFailureReason;

// Numbers that planning should have refused, or that this worker understands otherwise: another
// attempt would be of the same plan.
absl::Status PlanError(absl::Status status) {
  if (!absl::IsFailedPrecondition(status) && !absl::IsInvalidArgument(status)) return status;
  return WithFailureReason(std::move(status), FailureReason::kPlanCannotRun);
}

// Files that are whole and fit the model are opened without an error; those that do not fit it say
// so themselves.
absl::Status FileError(absl::Status status) {
  if (status.ok() || train::FailureReasonOf(status) != FailureReason::kOther) return status;
  return WithFailureReason(std::move(status), FailureReason::kInvalidData);
}

// Micro-batches of a full batch over all ranks, in the longest bucket or spread: every bucket may
// hold one that is not full.
int64_t MicroBatchesAtCap(const v1::JobPlan& plan) {
  if (!plan.spec().train().pad_to_cap()) return 0;
  const int64_t size = plan.train().micro_batch_size();
  return (plan.privacy().batch_cap() + size - 1) / size + plan.train().lengths_size() - 1;
}

}  // namespace

Training::Assembly::Assembly(Options options, const Parts& parts,
                             layout::ModelDescription description, Layouts layouts)
    : options_(std::move(options)),
      parts_(parts),
      description_(std::move(description)),
      layouts_(std::move(layouts)),
      phase_profile_(parts.clock, &memory::TakeTensorPeakSinceLastTake) {}

absl::StatusOr<Training::Assembly::Layouts> Training::Assembly::MakeLayouts(
    const layout::ModelDescription& description, const v1::WrappingSpec& wrapping, int shards) {
  ASSIGN_OR_RETURN(layout::WrappedModel wrapped, spec::WrapModel(description, wrapping));
  ASSIGN_OR_RETURN(layout::FlatLayout blocks, layout::FlatLayout::Create(description, shards));
  ASSIGN_OR_RETURN(layout::FlatLayout units, layout::FlatLayout::Create(wrapped.units, shards));
  return Layouts{
      .wrapped = std::move(wrapped), .blocks = std::move(blocks), .units = std::move(units)};
}

absl::StatusOr<std::unique_ptr<Training::Assembly>> Training::Assembly::Create(
    Options options, crypto::Secret secret, const Parts& parts) {
  RETURN_IF_ERROR(
      train::CheckRanksAgree(parts.communicator, "plan",
                             absl::StrCat(options.plan.SerializeAsString(), options.end_step)));
  absl::StatusOr<layout::ModelDescription> described =
      spec::DescribeModel(options.plan.spec().model());
  RETURN_IF_ERROR(PlanError(described.status()));
  layout::ModelDescription description = *std::move(described);
  const absl::StatusOr<layout::RankGrid> grid = GridOf(options.plan.sharding());
  RETURN_IF_ERROR(PlanError(grid.status()));
  absl::StatusOr<Layouts> layouts =
      MakeLayouts(description, options.plan.spec().workers().wrapping(), grid->shards);
  RETURN_IF_ERROR(PlanError(layouts.status()));
  std::unique_ptr<Assembly> assembly(
      new Assembly(std::move(options), parts, std::move(description), *std::move(layouts)));
  RETURN_IF_ERROR(FileError(assembly->OpenFiles()));
  RETURN_IF_ERROR(PlanError(assembly->BuildModel()));
  RETURN_IF_ERROR(PlanError(assembly->BuildPrivacy(std::move(secret))));
  assembly->BuildSummer();
  assembly->BuildOptimizer();
  assembly->BuildLoop();
  return assembly;
}

absl::Status Training::Assembly::OpenFiles() {
  ASSIGN_OR_RETURN(dataset_, OpenDataset(plan(), description_));
  ASSIGN_OR_RETURN(evaluation_file_, OpenEvaluation(plan(), description_));
  return absl::OkStatus();
}

absl::Status Training::Assembly::BuildModel() {
  ASSIGN_OR_RETURN(const layout::ScheduleChoice choice,
                   spec::ScheduleChoiceOf(plan(), description_, layouts_.wrapped));
  const layout::ScheduleOptions schedule = layout::MakeScheduleOptions(description_, choice);
  RETURN_IF_ERROR(CheckSharding(plan().sharding(), layouts_.units, schedule));
  const bool sum = plan().spec().train().loss_reduction() == v1::LOSS_REDUCTION_SUM;
  ASSIGN_OR_RETURN(
      model_,
      models::Model::Create(description_, {.loss_reduction = sum ? models::LossReduction::kSum
                                                                 : models::LossReduction::kMean}));
  ASSIGN_OR_RETURN(parameters_, fsdp::ShardedParameters::Create(
                                    layouts_.wrapped.units, layouts_.units, parts_.communicator,
                                    {.gathered_slots = choice.gathered_slots,
                                     .gradient_slots = choice.gradient_slots,
                                     .strategy = choice.strategy,
                                     .kept_gathered = choice.kept_gathered,
                                     .blocks = layouts_.wrapped.blocks}));
  ASSIGN_OR_RETURN(std::shared_ptr<const dp::ClippingRule> clipping, MakeClippingRule(plan()));
  ASSIGN_OR_RETURN(gradient_pass_,
                   dp::GradientPass::Create(layouts_.blocks,
                                            {.mode = choice.mode,
                                             .layer_modes = choice.layer_modes,
                                             .clipping = std::move(clipping),
                                             .loss_bound = plan().privacy().max_loss(),
                                             .max_examples = plan().train().micro_batch_size()}));
  if (plan().sharding().check_operations()) {
    checker_ = std::make_unique<train::OperationChecker>(
        *parameters_,
        train::OperationChecker::Options{.checks_activations = plan().privacy().not_private()});
  }
  executor_ = std::make_unique<train::Executor>(schedule, *model_, *parameters_, *gradient_pass_,
                                                &phase_profile_, at::kFloat, checker_.get());
  return absl::OkStatus();
}

absl::Status Training::Assembly::BuildPrivacy(crypto::Secret secret) {
  ASSIGN_OR_RETURN(sampler_,
                   MakeSampler(plan(), options_.job, dataset_->num_records(), secret.Clone()));
  if (const auto* dit = std::get_if<layout::DitDimensions>(&description_.family)) {
    draws_ = std::make_unique<data::ExampleDraws>(secret.Clone(), dit->time_steps);
    evaluation_draws_ =
        std::make_unique<data::ExampleDraws>(data::ExampleDraws::ForEvaluation(dit->time_steps));
  }
  ASSIGN_OR_RETURN(clip_threshold_, MakeClipThreshold(plan()));
  ASSIGN_OR_RETURN(mechanism_, MakeMechanism(plan(), *parameters_, std::move(secret)));
  return absl::OkStatus();
}

void Training::Assembly::BuildSummer() {
  const std::vector<int32_t> lengths(plan().train().lengths().begin(),
                                     plan().train().lengths().end());
  const int32_t micro_batch_size = plan().train().micro_batch_size();
  loader_ = std::make_unique<data::RecordLoader>(*dataset_, micro_batch_size);
  summer_ = std::make_unique<train::GradientSummer>(
      train::GradientSummer::Options{.lengths = lengths,
                                     .micro_batch_size = micro_batch_size,
                                     .minimum_micro_batches = MicroBatchesAtCap(plan()),
                                     .draws = draws_.get()},
      *loader_, *gradient_pass_, *executor_, *parameters_);
  if (evaluation_file_ == nullptr) return;
  evaluator_ =
      std::make_unique<train::Evaluator>(*evaluation_file_, lengths, micro_batch_size, *executor_,
                                         parts_.communicator, evaluation_draws_.get());
}

void Training::Assembly::BuildOptimizer() {
  optimizer_ = MakeOptimizer(plan(), *parameters_);
  learning_rate_ = std::make_unique<optim::LearningRateSchedule>(LearningRateOptions(plan()));
  if (!options_.checkpoint_directory.empty()) {
    v1::CheckpointManifest manifest =
        ManifestOf(plan(), options_.job, options_.attempt, layouts_.wrapped.units, layouts_.units);
    manifest.set_optimizer(optimizer_->name());
    checkpointer_ = std::make_unique<checkpoint::Checkpointer>(checkpoint::Checkpointer::Options{
        .directory = options_.checkpoint_directory,
        .rank = parameters_->shard_rank(),
        .world_size = parameters_->grid().shards,
        .commits = parts_.communicator.rank() == 0,
        .retention = {plan().train().checkpoint_keep(), plan().train().checkpoint_keep_best()},
        .manifest = std::move(manifest)});
  }
}

void Training::Assembly::BuildLoop() {
  step_ = std::make_unique<train::Step>(train::Step::Parts{.gate = parts_.gate,
                                                           .communicator = parts_.communicator,
                                                           .sampler = *sampler_,
                                                           .summer = *summer_,
                                                           .mechanism = *mechanism_,
                                                           .clip_threshold = *clip_threshold_,
                                                           .optimizer = *optimizer_,
                                                           .learning_rate = *learning_rate_,
                                                           .profile = &phase_profile_,
                                                           .checkpointer = checkpointer_.get()});
  loop_ = std::make_unique<train::TrainLoop>(
      train::TrainLoop::Options{
          .end_step = options_.end_step,
          .checkpoint_every_steps = plan().train().checkpoint_every_steps(),
          .evaluate_checkpoints = plan().train().checkpoint_keep_best() > 0,
          .evaluation_every_steps = plan().spec().train().evaluation_every_steps(),
          .clear_caches_every_steps = plan().spec().workers().clear_caches_every_steps(),
          .init_seed = plan().spec().model().init_seed(),
          .hugging_face_directory = plan().spec().model().hugging_face_directory()},
      train::TrainLoop::Parts{.step = *step_,
                              .parameters = *parameters_,
                              .optimizer = *optimizer_,
                              .learning_rate = *learning_rate_,
                              .clip_threshold = *clip_threshold_,
                              .observer = parts_.observer,
                              .clock = parts_.clock,
                              .checkpointer = checkpointer_.get(),
                              .evaluator = evaluator_.get()});
}

}  // namespace sotto
