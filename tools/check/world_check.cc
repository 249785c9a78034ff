#include "tools/check/world_check.h"

#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>
#include <thread>
#include <utility>

#include "ATen/Parallel.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/dataset/token_file_writer.h"
#include "common/layout/execution_schedule.h"
#include "server/planning/planner.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/solo_communicator.h"
#include "worker/train/train_observer.h"
#include "worker/training.h"

namespace sotto::check {
namespace {

constexpr int kRecords = 64;
constexpr int kMostRanks = 16;

class SilentObserver : public train::TrainObserver {
 public:
  void OnProgress(int64_t, double) override {}
  void OnStep(const dp::NoisedMetrics&, double, double) override {}
  void OnEvaluation(int64_t, double) override {}
  void OnCheckpoint(int64_t, const std::string&) override {}
  void OnNote(const std::string&) override {}
};

absl::StatusOr<std::string> WriteRecords(const ModelShape& shape, const std::string& path) {
  ASSIGN_OR_RETURN(dataset::TokenFileWriter writer,
                   dataset::TokenFileWriter::Create(path, {.vocabulary_size = shape.vocabulary_size,
                                                           .max_length = shape.tokens}));
  std::mt19937 generator(1);
  std::uniform_int_distribution<int32_t> token(0, shape.vocabulary_size - 1);
  std::uniform_int_distribution<int> length(2, shape.tokens);
  for (int record = 0; record < kRecords; ++record) {
    std::vector<int32_t> tokens(length(generator));
    for (int32_t& value : tokens) value = token(generator);
    RETURN_IF_ERROR(writer.Add(tokens, {}));
  }
  return writer.Finish();
}

v1::JobSpec MakeSpec(const WorldOptions& options, int world_size) {
  v1::JobSpec spec;
  v1::Gpt2Spec& gpt2 = *spec.mutable_model()->mutable_gpt2();
  gpt2.set_vocabulary_size(options.shape.vocabulary_size);
  gpt2.set_width(options.shape.width);
  gpt2.set_layers(options.shape.layers);
  gpt2.set_heads(options.shape.heads);
  gpt2.set_max_length(options.shape.tokens);
  gpt2.set_untied_head(options.shape.untied_head);
  spec.mutable_data()->set_dataset("check");
  v1::PrivacySpec& privacy = *spec.mutable_privacy();
  privacy.set_not_private(true);
  privacy.set_seed(1);
  privacy.set_clip_norm(1);
  privacy.set_fixed_noise_multiplier(options.noise_multiplier);
  spec.mutable_train()->set_expected_batch_size(kRecords / 2);
  spec.mutable_train()->set_steps(options.steps);
  spec.mutable_train()->set_micro_batch_size(3);
  spec.mutable_train()->mutable_learning_rate()->set_peak(1e-3);
  spec.mutable_workers()->set_count(world_size);
  spec.mutable_gradient()->set_mode(options.mode);
  return spec;
}

absl::StatusOr<v1::JobPlan> MakePlan(const WorldOptions& options, int world_size,
                                     const std::string& path, const std::string& sha256) {
  v1::DatasetFacts dataset;
  dataset.set_name("check");
  dataset.set_path(path);
  dataset.set_sha256(sha256);
  dataset.set_max_records(kRecords);
  dataset.set_vocabulary_size(options.shape.vocabulary_size);
  dataset.set_max_length(options.shape.tokens);
  // One core a rank: the number of threads must not differ between world sizes.
  return planning::Plan(
      MakeSpec(options, world_size), dataset,
      {.slots = kMostRanks, .cores = world_size, .memory_bytes = int64_t{64} << 30});
}

// The whole model, unit after unit, parameter after parameter. Collective.
absl::StatusOr<std::vector<uint32_t>> GatherModel(fsdp::ShardedParameters& parameters) {
  std::vector<uint32_t> bits;
  for (int unit = 0; unit < parameters.layout().num_units(); ++unit) {
    const int slot = unit == 0 ? layout::kRootSlot : 1;
    RETURN_IF_ERROR(parameters.Gather(unit, slot));
    for (const at::Tensor& view : parameters.ParameterViews(unit, slot)) {
      const size_t begin = bits.size();
      bits.resize(begin + view.numel());
      std::memcpy(bits.data() + begin, view.data_ptr(), view.nbytes());
    }
  }
  return bits;
}

absl::StatusOr<std::unique_ptr<comm::Communicator>> Connect(const v1::JobPlan& plan, int rank,
                                                            int memfd) {
  const int world_size = plan.sharding().world_size();
  if (world_size == 1) return std::make_unique<comm::SoloCommunicator>();
  ASSIGN_OR_RETURN(
      std::unique_ptr<comm::Communicator> communicator,
      comm::LocalCommunicator::Create({.rank = rank,
                                       .world_size = world_size,
                                       .memfd = memfd,
                                       .region_elements = comm::LocalCommunicator::RegionElements(
                                           world_size, plan.sharding().communicator_bytes())}));
  return communicator;
}

absl::StatusOr<std::vector<uint32_t>> TrainRank(const v1::JobPlan& plan, int rank, int memfd) {
  ASSIGN_OR_RETURN(const std::unique_ptr<comm::Communicator> communicator,
                   Connect(plan, rank, memfd));
  const int64_t steps = plan.train().steps();
  grant::GrantGate gate({.attempt = 1, .end_step = steps, .clock = &RealClock::Get()});
  RETURN_IF_ERROR(gate.Extend({.first_step = 0, .end_step = steps, .attempt = 1}));
  SilentObserver observer;
  ASSIGN_OR_RETURN(const std::unique_ptr<Training> training,
                   Training::Create({.plan = plan, .job = "check", .attempt = 1, .end_step = steps},
                                    Training::SecretOf(plan, ""),
                                    {.communicator = *communicator,
                                     .gate = gate,
                                     .observer = observer,
                                     .clock = RealClock::Get()}));
  RETURN_IF_ERROR(training->Run().status());
  ASSIGN_OR_RETURN(std::vector<uint32_t> model, GatherModel(training->parameters()));
  RETURN_IF_ERROR(communicator->Barrier());
  return model;
}

// Rank 0's model.
absl::StatusOr<std::vector<uint32_t>> Train(const v1::JobPlan& plan) {
  const UniqueFd memfd(memfd_create("sotto-check", MFD_CLOEXEC));
  if (ftruncate(memfd.get(), plan.sharding().communicator_bytes()) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make shared memory");
  }
  const int world_size = plan.sharding().world_size();
  std::vector<absl::StatusOr<std::vector<uint32_t>>> models(world_size, absl::UnknownError(""));
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < world_size; ++rank) {
    ranks.emplace_back([&, rank] { models[rank] = TrainRank(plan, rank, memfd.get()); });
  }
  for (std::thread& rank : ranks) rank.join();
  for (const auto& model : models) RETURN_IF_ERROR(model.status());
  return std::move(models[0]);
}

int64_t CountDifferences(const std::vector<uint32_t>& a, const std::vector<uint32_t>& b) {
  int64_t count = static_cast<int64_t>(std::max(a.size(), b.size()) - std::min(a.size(), b.size()));
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) count += a[i] != b[i];
  return count;
}

}  // namespace

absl::StatusOr<std::vector<WorldRow>> CompareWorldSizes(const WorldOptions& options) {
  at::set_num_threads(1);
  ASSIGN_OR_RETURN(const std::string folder, MakeTempDir("/tmp/sotto-check-"));
  const absl::Cleanup remove = [&folder] {
    std::error_code ignored;  // Best effort: a folder of random records in /tmp.
    std::filesystem::remove_all(folder, ignored);
  };
  const std::string path = absl::StrCat(folder, "/records.tokens");
  ASSIGN_OR_RETURN(const std::string sha256, WriteRecords(options.shape, path));
  std::vector<WorldRow> rows;
  std::vector<uint32_t> first;
  for (const int world_size : options.world_sizes) {
    ASSIGN_OR_RETURN(const v1::JobPlan plan, MakePlan(options, world_size, path, sha256));
    const auto start = std::chrono::steady_clock::now();
    ASSIGN_OR_RETURN(std::vector<uint32_t> model, Train(plan));
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    if (rows.empty()) first = model;
    rows.push_back({.world_size = world_size,
                    .differing_parameters = CountDifferences(model, first),
                    .seconds = spent.count()});
  }
  return rows;
}

}  // namespace sotto::check
