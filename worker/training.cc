#include "worker/training.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/execution_schedule.h"
#include "common/spec/model_layout.h"
#include "worker/data/record_loader.h"
#include "worker/dp/gradient_pass.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/models/model.h"
#include "worker/plan_files.h"
#include "worker/plan_manifest.h"
#include "worker/plan_optimizer.h"
#include "worker/plan_privacy.h"
#include "worker/plan_sharding.h"
#include "worker/train/agreement.h"
#include "worker/train/evaluator.h"
#include "worker/train/executor.h"
#include "worker/train/failure_reason.h"
#include "worker/train/gradient_summer.h"
#include "worker/train/step.h"
#include "worker/train/torch_errors.h"

namespace sotto {
namespace {

using train::FailureReason;
using train::WithFailureReason;

// Micro-batches of a full batch over all ranks, in the longest bucket or spread: every bucket may
// hold one that is not full.
int64_t MicroBatchesAtCap(const v1::JobPlan& plan) {
  if (!plan.spec().train().pad_to_cap()) return 0;
  const int64_t size = plan.train().micro_batch_size();
  return (plan.privacy().batch_cap() + size - 1) / size + plan.train().lengths_size() - 1;
}

}  // namespace

// Owns the parts, in the order in which they borrow from each other.
class Training::Assembly {
 public:
  static absl::StatusOr<std::unique_ptr<Assembly>> Create(Options options, crypto::Secret secret,
                                                          const Parts& parts);

  train::TrainLoop& loop() { return *loop_; }
  fsdp::ShardedParameters& parameters() { return *parameters_; }

 private:
  Assembly(Options options, const Parts& parts, layout::ModelDescription description,
           layout::FlatLayout layout)
      : options_(std::move(options)),
        parts_(parts),
        description_(std::move(description)),
        layout_(std::move(layout)) {}

  const v1::JobPlan& plan() const { return options_.plan; }
  absl::Status OpenFiles();
  absl::Status BuildModel();
  absl::Status BuildPrivacy(crypto::Secret secret);
  void BuildLoop();

  const Options options_;
  const Parts parts_;
  const layout::ModelDescription description_;
  const layout::FlatLayout layout_;
  std::unique_ptr<dataset::TokenFile> dataset_;
  std::unique_ptr<dataset::TokenFile> evaluation_file_;
  std::unique_ptr<models::Model> model_;
  std::unique_ptr<fsdp::ShardedParameters> parameters_;
  std::unique_ptr<dp::GradientPass> gradient_pass_;
  std::unique_ptr<train::Executor> executor_;
  std::unique_ptr<data::RecordLoader> loader_;
  std::unique_ptr<train::GradientSummer> summer_;
  std::unique_ptr<train::Evaluator> evaluator_;
  std::unique_ptr<dp::Sampler> sampler_;
  std::unique_ptr<dp::Mechanism> mechanism_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::unique_ptr<optim::LearningRateSchedule> learning_rate_;
  std::unique_ptr<checkpoint::Checkpointer> checkpointer_;
  std::unique_ptr<train::Step> step_;
  std::unique_ptr<train::TrainLoop> loop_;
};

absl::StatusOr<std::unique_ptr<Training::Assembly>> Training::Assembly::Create(
    Options options, crypto::Secret secret, const Parts& parts) {
  RETURN_IF_ERROR(
      train::CheckRanksAgree(parts.communicator, "plan",
                             absl::StrCat(options.plan.SerializeAsString(), options.end_step)));
  ASSIGN_OR_RETURN(layout::ModelDescription description,
                   spec::DescribeModel(options.plan.spec().model()));
  ASSIGN_OR_RETURN(layout::FlatLayout layout,
                   layout::FlatLayout::Create(description, parts.communicator.world_size()));
  std::unique_ptr<Assembly> assembly(
      new Assembly(std::move(options), parts, std::move(description), std::move(layout)));
  if (absl::Status status = assembly->OpenFiles(); !status.ok()) {
    return WithFailureReason(std::move(status), FailureReason::kInvalidData);
  }
  RETURN_IF_ERROR(assembly->BuildModel());
  RETURN_IF_ERROR(assembly->BuildPrivacy(std::move(secret)));
  assembly->BuildLoop();
  return assembly;
}

absl::Status Training::Assembly::OpenFiles() {
  const int64_t vocabulary_size =
      std::get<layout::Gpt2Dimensions>(description_.family).vocabulary_size;
  ASSIGN_OR_RETURN(dataset_, OpenDataset(plan(), vocabulary_size));
  ASSIGN_OR_RETURN(evaluation_file_, OpenEvaluation(plan(), vocabulary_size));
  return absl::OkStatus();
}

absl::Status Training::Assembly::BuildModel() {
  ASSIGN_OR_RETURN(const layout::UnitMode mode, spec::ModeOf(plan().sharding().mode()));
  const layout::ScheduleOptions schedule = ScheduleOptionsOf(plan(), description_, mode);
  if (absl::Status status = CheckSharding(plan().sharding(), layout_, schedule); !status.ok()) {
    return WithFailureReason(std::move(status), FailureReason::kProtocol);
  }
  const bool sum = plan().spec().train().loss_reduction() == v1::LOSS_REDUCTION_SUM;
  ASSIGN_OR_RETURN(
      model_,
      models::Model::Create(description_, {.loss_reduction = sum ? models::LossReduction::kSum
                                                                 : models::LossReduction::kMean}));
  ASSIGN_OR_RETURN(parameters_, fsdp::ShardedParameters::Create(
                                    description_, layout_, parts_.communicator,
                                    {.gathered_slots = plan().sharding().gathered_slots(),
                                     .gradient_slots = plan().sharding().gradient_slots()}));
  ASSIGN_OR_RETURN(
      gradient_pass_,
      dp::GradientPass::Create(layout_, {.mode = mode,
                                         .applied_clip_norm = plan().privacy().clip_norm_applied(),
                                         .loss_bound = plan().privacy().max_loss(),
                                         .max_examples = plan().train().micro_batch_size()}));
  executor_ = std::make_unique<train::Executor>(schedule, *model_, *parameters_, *gradient_pass_);
  return absl::OkStatus();
}

absl::Status Training::Assembly::BuildPrivacy(crypto::Secret secret) {
  ASSIGN_OR_RETURN(sampler_,
                   MakeSampler(plan(), options_.job, dataset_->num_records(), secret.Clone()));
  ASSIGN_OR_RETURN(mechanism_, MakeMechanism(plan(), layout_.total_elements(), parts_.communicator,
                                             std::move(secret)));
  return absl::OkStatus();
}

void Training::Assembly::BuildLoop() {
  const std::vector<int32_t> lengths(plan().train().lengths().begin(),
                                     plan().train().lengths().end());
  const int32_t micro_batch_size = plan().train().micro_batch_size();
  loader_ = std::make_unique<data::RecordLoader>(*dataset_, micro_batch_size);
  summer_ = std::make_unique<train::GradientSummer>(
      train::GradientSummer::Options{.lengths = lengths,
                                     .micro_batch_size = micro_batch_size,
                                     .minimum_micro_batches = MicroBatchesAtCap(plan()),
                                     .clip_norm = plan().privacy().clip_norm()},
      *loader_, *executor_, *parameters_);
  if (evaluation_file_ != nullptr) {
    evaluator_ = std::make_unique<train::Evaluator>(*evaluation_file_, lengths, micro_batch_size,
                                                    *executor_, parts_.communicator);
  }
  optimizer_ = MakeOptimizer(plan().spec().train().optimizer(), *parameters_);
  learning_rate_ = std::make_unique<optim::LearningRateSchedule>(LearningRateOptions(plan()));
  if (!options_.checkpoint_directory.empty()) {
    v1::CheckpointManifest manifest =
        ManifestOf(plan(), options_.job, options_.attempt, description_, layout_);
    manifest.set_optimizer(optimizer_->name());
    checkpointer_ = std::make_unique<checkpoint::Checkpointer>(
        checkpoint::Checkpointer::Options{.directory = options_.checkpoint_directory,
                                          .rank = parts_.communicator.rank(),
                                          .world_size = parts_.communicator.world_size(),
                                          .keep = plan().train().checkpoint_keep(),
                                          .manifest = std::move(manifest)});
  }
  step_ = std::make_unique<train::Step>(train::Step::Parts{.gate = parts_.gate,
                                                           .communicator = parts_.communicator,
                                                           .sampler = *sampler_,
                                                           .summer = *summer_,
                                                           .mechanism = *mechanism_,
                                                           .optimizer = *optimizer_,
                                                           .learning_rate = *learning_rate_});
  loop_ = std::make_unique<train::TrainLoop>(
      train::TrainLoop::Options{
          .end_step = options_.end_step,
          .checkpoint_every_steps = plan().train().checkpoint_every_steps(),
          .evaluation_every_steps = plan().spec().train().evaluation_every_steps(),
          .init_seed = plan().spec().model().init_seed()},
      train::TrainLoop::Parts{.step = *step_,
                              .parameters = *parameters_,
                              .optimizer = *optimizer_,
                              .learning_rate = *learning_rate_,
                              .observer = parts_.observer,
                              .clock = parts_.clock,
                              .checkpointer = checkpointer_.get(),
                              .evaluator = evaluator_.get()});
}

crypto::Secret Training::SecretOf(const v1::JobPlan& plan, const std::string& secret) {
  if (!secret.empty()) return crypto::Secret(secret);
  return crypto::Secret::FromPublicSeed(plan.spec().privacy().seed());
}

absl::StatusOr<std::unique_ptr<Training>> Training::Create(Options options, crypto::Secret secret,
                                                           const Parts& parts) {
  absl::StatusOr<std::unique_ptr<Assembly>> assembly = absl::UnknownError("");
  const absl::Status status = train::CatchTorchErrors([&] {
    assembly = Assembly::Create(std::move(options), std::move(secret), parts);
    return assembly.status();
  });
  RETURN_IF_ERROR(status);
  return std::unique_ptr<Training>(new Training(*std::move(assembly)));
}

Training::Training(std::unique_ptr<Assembly> assembly) : assembly_(std::move(assembly)) {}
Training::~Training() = default;

absl::StatusOr<train::TrainLoop::Outcome> Training::Run() {
  absl::StatusOr<train::TrainLoop::Outcome> outcome = absl::UnknownError("");
  const absl::Status status = train::CatchTorchErrors([&] {
    outcome = assembly_->loop().Run();
    return outcome.status();
  });
  RETURN_IF_ERROR(status);
  return outcome;
}

int64_t Training::started_steps() const { return assembly_->loop().started_steps(); }
int64_t Training::completed_steps() const { return assembly_->loop().completed_steps(); }
fsdp::ShardedParameters& Training::parameters() { return assembly_->parameters(); }

}  // namespace sotto
