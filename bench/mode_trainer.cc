#include "bench/mode_trainer.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <memory>
#include <vector>

#include "ATen/Parallel.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/dataset/token_file.h"
#include "common/layout/execution_schedule.h"
#include "common/layout/gradient_mode.h"
#include "common/spec/device_profile_message.h"
#include "proto/sotto/v1/plan.pb.h"
#include "worker/comm/connect.h"
#include "worker/data/record_loader.h"
#include "worker/device_profile.h"
#include "worker/dp/flat_clipping.h"
#include "worker/dp/gradient_pass.h"
#include "worker/memory/resident_memory.h"
#include "worker/memory/tensor_memory.h"
#include "worker/models/model.h"
#include "worker/train/gradient_summer.h"
#include "worker/training.h"

namespace sotto::bench {
namespace {

constexpr int64_t kEndStep = 1000;

absl::StatusOr<v1::JobPlan> ReadPlan(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path));
  v1::JobPlan plan;
  if (!plan.ParseFromString(bytes)) return absl::DataLossError("the plan cannot be parsed");
  return plan;
}

// Of all threads of this process.
double CpuSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Of the phases that release a sum: seconds so far.
double ReleaseSeconds(const train::PhaseProfile& profile) {
  int64_t nanoseconds = 0;
  for (train::Phase phase :
       {train::Phase::kSampling, train::Phase::kRelease, train::Phase::kUpdate}) {
    nanoseconds += profile.total(phase).nanoseconds;
  }
  return 1e-9 * static_cast<double>(nanoseconds);
}

// Writes how long each step took, then waits for the next line; the end of stdin ends the process.
class SteppingObserver : public train::TrainObserver {
 public:
  explicit SteppingObserver(Clock& clock) : clock_(clock), begin_(clock.Now()) {}

  // Before the first step; borrowed.
  void SetProfile(const train::PhaseProfile& profile) { profile_ = &profile; }

  void OnStep(const dp::NoisedMetrics&, double, double) override {
    const double release_seconds = ReleaseSeconds(*profile_);
    std::cout << absl::ToDoubleSeconds(clock_.Now() - begin_) << " "
              << CpuSeconds() - begin_cpu_seconds_ << " "
              << release_seconds - begin_release_seconds_ << " " << memory::PeakResidentBytes()
              << " " << memory::TensorPeakBytes() << std::endl;
    std::string line;
    if (!std::getline(std::cin, line)) std::exit(0);
    begin_release_seconds_ = release_seconds;
    begin_ = clock_.Now();
    begin_cpu_seconds_ = CpuSeconds();
  }
  void OnProgress(int64_t, double) override {}
  void OnEvaluation(int64_t, double) override {}
  void OnCheckpoint(int64_t, const std::string&) override {}
  void OnNote(const std::string&) override {}

 private:
  Clock& clock_;
  const train::PhaseProfile* profile_ = nullptr;
  absl::Time begin_;
  double begin_cpu_seconds_ = CpuSeconds();
  double begin_release_seconds_ = 0;
};

// A rank's training with everything it borrows.
struct RankTraining {
  explicit RankTraining(Clock& clock)
      : gate({.attempt = 1, .end_step = kEndStep, .clock = &clock}), observer(clock) {}

  std::unique_ptr<comm::Communicator> communicator;
  grant::GrantGate gate;
  SteppingObserver observer;
  std::unique_ptr<Training> training;
};

absl::StatusOr<std::unique_ptr<RankTraining>> MakeRank(const v1::JobPlan& plan, int rank,
                                                       int memfd) {
  memory::CountTensors();
  at::set_num_threads(plan.sharding().threads_per_rank());
  auto own = std::make_unique<RankTraining>(RealClock::Get());
  const int world_size = plan.sharding().world_size();
  ASSIGN_OR_RETURN(own->communicator,
                   comm::Connect({.rank = rank,
                                  .world_size = world_size,
                                  .memfd = memfd,
                                  .region_elements = comm::LocalCommunicator::RegionElements(
                                      world_size, plan.sharding().communicator_bytes())}));
  RETURN_IF_ERROR(own->gate.Extend({.first_step = 0, .end_step = kEndStep, .attempt = 1}));
  ASSIGN_OR_RETURN(
      own->training,
      Training::Create({.plan = plan, .job = "bench", .attempt = 1, .end_step = kEndStep},
                       crypto::Secret::FromPublicSeed(plan.spec().privacy().seed()),
                       {.communicator = *own->communicator,
                        .gate = own->gate,
                        .observer = own->observer,
                        .clock = RealClock::Get()}));
  own->observer.SetProfile(own->training->phase_profile());
  return own;
}

// Squared gradient norms of one micro-batch at the training's parameters.
absl::StatusOr<at::Tensor> NormSq(fsdp::ShardedParameters& parameters,
                                  const models::MicroBatch& batch) {
  ASSIGN_OR_RETURN(const std::unique_ptr<models::Model> model,
                   models::Model::Create(parameters.model(), models::Model::Options{}));
  ASSIGN_OR_RETURN(const std::shared_ptr<const dp::ClippingRule> clipping,
                   dp::FlatClipping::Create(/*clip_norm=*/1, /*margin=*/0));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<dp::GradientPass> pass,
      dp::GradientPass::Create(parameters.layout(), {.mode = *layout::FindMode("flash"),
                                                     .clipping = clipping,
                                                     .max_examples = batch.tokens_BT.size(0)}));
  pass->Begin(batch.example_ids);
  const auto gathered = [&](int unit) -> absl::StatusOr<absl::Span<const at::Tensor>> {
    const int slot = unit == 0 ? layout::kRootSlot : 1;
    RETURN_IF_ERROR(parameters.Gather(unit, slot));
    return parameters.ParameterViews(unit, slot);
  };
  at::Tensor value;
  for (const auto& stage : model->stages()) {
    ASSIGN_OR_RETURN(const absl::Span<const at::Tensor> views, gathered(stage->unit()));
    value = stage->Forward(views, batch, value);
  }
  value.reset();
  for (size_t i = model->stages().size(); i-- > 0;) {
    models::Stage& stage = *model->stages()[i];
    ASSIGN_OR_RETURN(const absl::Span<const at::Tensor> views, gathered(stage.unit()));
    value = stage.Backward(views, batch, value,
                           pass->Sink(dp::GradientPass::Verb::kNorm, stage.unit(), {}));
  }
  return pass->private_norm_sq_B();
}

}  // namespace

absl::Status TrainOnDemand(const std::string& plan_path, int rank, int memfd) {
  ASSIGN_OR_RETURN(const v1::JobPlan plan, ReadPlan(plan_path));
  ASSIGN_OR_RETURN(const std::unique_ptr<RankTraining> own, MakeRank(plan, rank, memfd));
  return own->training->Run().status();
}

absl::Status PrintMedianNorm(const std::string& plan_path) {
  ASSIGN_OR_RETURN(const v1::JobPlan plan, ReadPlan(plan_path));
  ASSIGN_OR_RETURN(const std::unique_ptr<RankTraining> solo,
                   MakeRank(plan, /*rank=*/0, /*memfd=*/-1));
  ASSIGN_OR_RETURN(const std::unique_ptr<dataset::TokenFile> file,
                   dataset::TokenFile::Open(plan.dataset().path()));
  data::PlannedMicroBatch first{.padded_length = plan.train().lengths(0)};
  for (int64_t id = 0; id < plan.train().micro_batch_size(); ++id) first.ids.push_back(id);
  solo->training->parameters().Initialize(plan.spec().model().init_seed());
  const data::RecordLoader loader(*file, plan.train().micro_batch_size());
  ASSIGN_OR_RETURN(const at::Tensor norm_sq,
                   NormSq(solo->training->parameters(), train::LoadForModel(loader, first)));
  std::vector<double> values(norm_sq.const_data_ptr<double>(),
                             norm_sq.const_data_ptr<double>() + norm_sq.numel());
  std::sort(values.begin(), values.end());
  std::cout.precision(std::numeric_limits<double>::max_digits10);
  std::cout << std::sqrt(0.5 * (values[(values.size() - 1) / 2] + values[values.size() / 2]))
            << std::endl;
  return absl::OkStatus();
}

void PrintDeviceProfile(int threads) {
  at::set_num_threads(threads);
  std::cout << spec::ProfileMessage(MeasureDeviceProfile(RealClock::Get())).ShortDebugString()
            << std::endl;
}

}  // namespace sotto::bench
