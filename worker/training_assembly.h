// The parts of one rank's training.
#ifndef SOTTO_WORKER_TRAINING_ASSEMBLY_H_
#define SOTTO_WORKER_TRAINING_ASSEMBLY_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/crypto/secret.h"
#include "common/dataset/token_file.h"
#include "common/layout/flat_layout.h"
#include "common/layout/model_description.h"
#include "common/layout/wrapping.h"
#include "worker/checkpoint/checkpointer.h"
#include "worker/data/example_draws.h"
#include "worker/data/record_loader.h"
#include "worker/dp/clip_threshold.h"
#include "worker/dp/gradient_pass.h"
#include "worker/dp/mechanism.h"
#include "worker/dp/sampler.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/models/model.h"
#include "worker/optim/learning_rate_schedule.h"
#include "worker/optim/optimizer.h"
#include "worker/train/evaluator.h"
#include "worker/train/executor.h"
#include "worker/train/gradient_summer.h"
#include "worker/train/phase_profile.h"
#include "worker/train/step.h"
#include "worker/train/train_loop.h"
#include "worker/training.h"

namespace sotto {

// Owns the parts, in the order in which they borrow from each other.
class Training::Assembly {
 public:
  static absl::StatusOr<std::unique_ptr<Assembly>> Create(Options options, crypto::Secret secret,
                                                          const Parts& parts);

  train::TrainLoop& loop() { return *loop_; }
  fsdp::ShardedParameters& parameters() { return *parameters_; }
  optim::Optimizer& optimizer() { return *optimizer_; }
  const train::PhaseProfile& phase_profile() const { return phase_profile_; }

 private:
  // What is sharded, beside what is computed with.
  struct Layouts {
    layout::WrappedModel wrapped;
    layout::FlatLayout blocks;
    layout::FlatLayout units;
  };

  Assembly(Options options, const Parts& parts, layout::ModelDescription description,
           Layouts layouts);

  static absl::StatusOr<Layouts> MakeLayouts(const layout::ModelDescription& description,
                                             const v1::WrappingSpec& wrapping, int shards);

  const v1::JobPlan& plan() const { return options_.plan; }
  absl::Status OpenFiles();
  absl::Status BuildModel();
  absl::Status BuildPrivacy(crypto::Secret secret);
  void BuildSummer();
  void BuildOptimizer();
  void BuildLoop();

  const Options options_;
  const Parts parts_;
  const layout::ModelDescription description_;
  const Layouts layouts_;
  train::PhaseProfile phase_profile_;
  std::unique_ptr<dataset::TokenFile> dataset_;
  std::unique_ptr<dataset::TokenFile> evaluation_file_;
  std::unique_ptr<models::Model> model_;
  std::unique_ptr<fsdp::ShardedParameters> parameters_;
  std::unique_ptr<dp::GradientPass> gradient_pass_;
  std::unique_ptr<train::OperationChecker> checker_;  // null: operations are not checked
  std::unique_ptr<train::Executor> executor_;
  std::unique_ptr<data::RecordLoader> loader_;
  std::unique_ptr<data::ExampleDraws> draws_;             // null: the model draws nothing
  std::unique_ptr<data::ExampleDraws> evaluation_draws_;  // the same
  std::unique_ptr<train::GradientSummer> summer_;
  std::unique_ptr<train::Evaluator> evaluator_;
  std::unique_ptr<dp::Sampler> sampler_;
  std::unique_ptr<dp::ClipThreshold> clip_threshold_;
  std::unique_ptr<dp::Mechanism> mechanism_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::unique_ptr<optim::LearningRateSchedule> learning_rate_;
  std::unique_ptr<checkpoint::Checkpointer> checkpointer_;
  std::unique_ptr<train::Step> step_;
  std::unique_ptr<train::TrainLoop> loop_;
};

}  // namespace sotto

#endif  // SOTTO_WORKER_TRAINING_ASSEMBLY_H_
