#include "tools/check/gradients_check.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/checkpoint/hugging_face_weights.h"
#include "common/checkpoint/safetensors_writer.h"
#include "common/layout/device_profile.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/memory.h"
#include "common/layout/mode_choice.h"
#include "common/layout/strategy.h"
#include "common/spec/hugging_face_config.h"
#include "tools/check/arguments.h"
#include "tools/check/gradients_batch.h"
#include "tools/check/gradients_rank.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/solo_communicator.h"

namespace sotto::check {
namespace {

constexpr int kMostRanks = 64;
constexpr int64_t kMostTokensAtOnce = 8192;
constexpr int64_t kMostHeldBytes = int64_t{1} << 30;
constexpr double kProductsWorthThreads = 1e10;
// So that accumulation over micro-batches is part of what is checked.
constexpr int64_t kMicroBatches = 4;

// The model as its files have it: a head that the configuration ties but the files hold apart is
// one of its own.
absl::StatusOr<layout::ModelDescription> Describe(const std::string& directory,
                                                  const checkpoint::HuggingFaceFiles& files) {
  const std::string path = absl::StrCat(directory, "/config.json");
  ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  ASSIGN_OR_RETURN(spec::HuggingFaceDimensions dimensions, spec::ParseHuggingFaceConfig(json));
  ASSIGN_OR_RETURN(const bool own_head, checkpoint::HasOwnHead(files));
  if (own_head) std::visit([](auto& family) { family.tied_head = false; }, dimensions);
  return spec::DescribeHuggingFace(dimensions);
}

absl::Status CheckLength(const layout::ModelDescription& model, int64_t tokens) {
  const auto* gpt2 = std::get_if<layout::Gpt2Dimensions>(&model.family);
  if (gpt2 == nullptr || tokens <= gpt2->max_length) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the batch has ", tokens,
                                                 " tokens per example, but the model only ",
                                                 gpt2->max_length, " positions"));
}

absl::StatusOr<layout::ScheduleChoice> ChooseSchedule(const GradientsOptions& options) {
  const auto mode = layout::IsAutomatic(options.mode)
                        ? layout::NamedMode{.name = layout::kAutomaticMode}
                        : layout::FindNamedMode(options.mode);
  if (!mode.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--mode \"", options.mode, "\" is not the name of a gradient mode"));
  }
  if (options.deferred_norms && !layout::IsAutomatic(options.mode) &&
      mode->mode.norm == layout::Norm::kNone) {
    return absl::InvalidArgumentError(
        absl::StrCat("--deferred_norms needs a mode that computes norms, but --mode ", options.mode,
                     " computes none"));
  }
  const auto strategy = layout::FindStrategy(options.strategy);
  if (!strategy.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--strategy \"", options.strategy,
                     "\" must be FULL_SHARD, SHARD_GRAD_OP, HYBRID_SHARD or NO_SHARD"));
  }
  if (mode->strategy.has_value() && mode->strategy != strategy) {
    return absl::InvalidArgumentError(absl::StrCat("--mode ", options.mode, " means ",
                                                   layout::StrategyName(*mode->strategy),
                                                   ", but --strategy is ", options.strategy));
  }
  return layout::ScheduleChoice{.mode = mode->mode, .strategy = *strategy};
}

// Resolves `auto` as planning would for a device that nobody measured, and puts norms off.
absl::Status ResolveMode(const GradientsOptions& options, const layout::ModelDescription& model,
                         int64_t tokens, int64_t micro_batch_size,
                         layout::ScheduleChoice& schedule) {
  if (layout::IsAutomatic(options.mode)) {
    ASSIGN_OR_RETURN(const layout::ModeChoice choice,
                     layout::ChooseMode(model,
                                        {.length = tokens,
                                         .largest_micro_batch_size = micro_batch_size,
                                         .fixed_micro_batch_size = true},
                                        layout::TypicalDeviceProfile(),
                                        [](const layout::ModeChoice&) { return int64_t{0}; }));
    schedule.mode = choice.mode;
    schedule.layer_modes = choice.layer_modes;
  }
  if (!options.deferred_norms) return absl::OkStatus();
  schedule.mode = layout::WithDeferredNorms(schedule.mode);
  for (std::vector<layout::UnitMode>& unit : schedule.layer_modes) {
    for (layout::UnitMode& mode : unit) mode = layout::WithDeferredNorms(mode);
  }
  return absl::OkStatus();
}

absl::StatusOr<layout::RankGrid> ChooseGrid(const GradientsOptions& options,
                                            layout::Strategy strategy) {
  const int group =
      options.shard_group_size > 0 ? options.shard_group_size : (options.world_size + 1) / 2;
  const auto grid = layout::MakeRankGrid(strategy, options.world_size, group);
  if (grid.has_value()) return *grid;
  return absl::InvalidArgumentError(
      absl::StrCat("--shard_group_size must divide --world_size, but ", group, " does not divide ",
                   options.world_size));
}

// A quarter of the batch, so far as memory allows.
int64_t ChooseMicroBatchSize(const GradientsOptions& options, const PublicBatch& batch,
                             const layout::ModelDescription& model) {
  if (options.micro_batch_size > 0) {
    return std::min(options.micro_batch_size, std::max<int64_t>(1, batch.examples));
  }
  const int64_t held_bytes = model.num_elements() * static_cast<int64_t>(sizeof(float));
  const int64_t most = std::min(kMostTokensAtOnce / batch.tokens, kMostHeldBytes / held_bytes);
  return std::clamp<int64_t>((batch.examples + kMicroBatches - 1) / kMicroBatches, 1,
                             std::max<int64_t>(1, most));
}

// Small work is done sooner by one thread than by several that wait for each other.
int ChooseThreads(const GradientsOptions& options, const PublicBatch& batch,
                  const layout::ModelDescription& model) {
  const double products = static_cast<double>(model.num_elements()) *
                          static_cast<double>(batch.examples * batch.tokens);
  if (products < kProductsWorthThreads) return 1;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / options.world_size);
}

absl::Status RunAlone(const GradientsJob& job, GradientsResult& result) {
  comm::SoloCommunicator communicator;
  return RunGradientsRank(job, communicator, result);
}

// Ranks as threads. One that fails makes the others' collectives fail; the first error is told.
absl::Status RunTogether(const GradientsJob& job, GradientsResult& result) {
  const int world_size = job.grid.world_size();
  const int64_t bytes = layout::CommunicatorBytes(job.layout, world_size);
  const UniqueFd memfd(memfd_create("sotto-check", MFD_CLOEXEC));
  if (!memfd.is_valid() || ftruncate(memfd.get(), bytes) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make shared memory");
  }
  std::vector<absl::Status> statuses(world_size);
  std::vector<std::thread> ranks;
  for (int rank = 0; rank < world_size; ++rank) {
    ranks.emplace_back([&, rank] {
      auto communicator = comm::LocalCommunicator::Create(
          {.rank = rank,
           .world_size = world_size,
           .memfd = memfd.get(),
           .region_elements = comm::LocalCommunicator::RegionElements(world_size, bytes)});
      statuses[rank] =
          communicator.ok() ? RunGradientsRank(job, **communicator, result) : communicator.status();
      if (communicator.ok() && !statuses[rank].ok()) (*communicator)->Abort();
    });
  }
  for (std::thread& rank : ranks) rank.join();
  absl::Status first;
  for (const absl::Status& status : statuses) {
    if (first.ok() || (absl::IsAborted(first) && !status.ok())) first = status;
  }
  return first;
}

// `values` of one parameter from the unit's flat buffer.
absl::Span<const float> Part(const GradientsResult& result, const GradientsJob& job, int unit,
                             size_t parameter) {
  const layout::ParameterLayout& place = job.layout.unit(unit).parameters[parameter];
  return absl::MakeConstSpan(result.sums[unit]).subspan(place.offset, place.elements);
}

absl::Status Write(const GradientsJob& job, const GradientsResult& result,
                   const std::string& path) {
  std::vector<checkpoint::TensorShape> shapes = {{"loss", {job.batch.examples}},
                                                 {"grad_norm", {job.batch.examples}}};
  for (size_t unit = 0; unit < job.model.units.size(); ++unit) {
    for (size_t i = 0; i < job.model.units[unit].parameters.size(); ++i) {
      shapes.push_back({absl::StrCat("clipped.", job.weights.TensorName(static_cast<int>(unit),
                                                                        static_cast<int>(i))),
                        job.model.units[unit].parameters[i].shape});
    }
  }
  ASSIGN_OR_RETURN(checkpoint::SafetensorsWriter writer,
                   checkpoint::SafetensorsWriter::Create(path, shapes, {}));
  RETURN_IF_ERROR(writer.Append(result.losses_B));
  const std::vector<float> norms(result.norms_B.begin(), result.norms_B.end());
  RETURN_IF_ERROR(writer.Append(norms));
  for (size_t unit = 0; unit < job.model.units.size(); ++unit) {
    for (size_t i = 0; i < job.model.units[unit].parameters.size(); ++i) {
      RETURN_IF_ERROR(writer.Append(Part(result, job, static_cast<int>(unit), i)));
    }
  }
  return writer.Finish().status();
}

absl::Status WriteWhole(const GradientsJob& job, const GradientsResult& result,
                        const std::string& path) {
  const std::string unfinished = absl::StrCat(path, ".unfinished");
  absl::Status status = Write(job, result, unfinished);
  if (status.ok() && std::rename(unfinished.c_str(), path.c_str()) != 0) {
    status = absl::ErrnoToStatus(errno, path);
  }
  if (!status.ok()) unlink(unfinished.c_str());
  return status;
}

absl::Status CheckOptions(const GradientsOptions& options) {
  RETURN_IF_ERROR(CheckClipNorm(options.clip_norm));
  if (options.world_size < 1 || options.world_size > kMostRanks) {
    return absl::InvalidArgumentError(absl::StrCat("--world_size must be from 1 to ", kMostRanks,
                                                   ", but is ", options.world_size));
  }
  if (options.dtype != "fp32" && options.dtype != "bf16") {
    return absl::InvalidArgumentError(
        absl::StrCat("--dtype must be fp32 or bf16, but is \"", options.dtype, "\""));
  }
  if (options.micro_batch_size < 0) {
    return absl::InvalidArgumentError("--micro_batch_size must not be negative");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteGradients(const GradientsOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(layout::ScheduleChoice schedule, ChooseSchedule(options));
  ASSIGN_OR_RETURN(const PublicBatch batch, ReadPublicBatch(options.batch));
  ASSIGN_OR_RETURN(const std::unique_ptr<checkpoint::HuggingFaceFiles> files,
                   checkpoint::HuggingFaceFiles::Open(options.model));
  ASSIGN_OR_RETURN(const layout::ModelDescription model, Describe(options.model, *files));
  ASSIGN_OR_RETURN(const checkpoint::HuggingFaceWeights weights,
                   checkpoint::HuggingFaceWeights::Match(*files, model));
  RETURN_IF_ERROR(CheckTokens(batch, model.vocabulary_size));
  RETURN_IF_ERROR(CheckLength(model, batch.tokens));
  ASSIGN_OR_RETURN(const layout::RankGrid grid, ChooseGrid(options, schedule.strategy));
  ASSIGN_OR_RETURN(const layout::FlatLayout layout, layout::FlatLayout::Create(model, grid.shards));
  const int64_t micro_batch_size = ChooseMicroBatchSize(options, batch, model);
  RETURN_IF_ERROR(ResolveMode(options, model, batch.tokens, micro_batch_size, schedule));
  const GradientsJob job{.model = model,
                         .layout = layout,
                         .weights = weights,
                         .batch = batch,
                         .schedule = schedule,
                         .grid = grid,
                         .clip_norm = options.clip_norm,
                         .micro_batch_size = micro_batch_size,
                         .in_bfloat16 = options.dtype == "bf16",
                         .threads = ChooseThreads(options, batch, model)};
  GradientsResult result;
  result.losses_B.resize(batch.examples);
  result.norms_B.resize(batch.examples);
  for (const layout::UnitLayout& unit : layout.units()) {
    result.sums.emplace_back(unit.padded_elements);
  }
  RETURN_IF_ERROR(options.world_size == 1 ? RunAlone(job, result) : RunTogether(job, result));
  return WriteWhole(job, result, options.out);
}

}  // namespace sotto::check
