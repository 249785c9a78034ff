#include "tools/check/gradients_check.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/safetensors_writer.h"
#include "common/layout/device_profile.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/memory.h"
#include "common/layout/mode_choice.h"
#include "common/layout/strategy.h"
#include "tools/check/arguments.h"
#include "tools/check/gradients_batch.h"
#include "tools/check/gradients_rank.h"
#include "tools/check/model_directory.h"
#include "tools/check/preset.h"
#include "tools/check/rank_threads.h"

namespace sotto::check {
namespace {

constexpr int64_t kMostTokensAtOnce = 8192;
constexpr int64_t kMostHeldBytes = int64_t{1} << 30;
// So that accumulation over micro-batches is part of what is checked.
constexpr int64_t kMicroBatches = 4;

absl::StatusOr<layout::ScheduleChoice> ChooseSchedule(const GradientsOptions& options) {
  const auto mode = layout::IsAutomatic(options.mode)
                        ? layout::NamedMode{.name = layout::kAutomaticMode}
                        : layout::FindNamedMode(options.mode);
  if (!mode.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--mode \"", options.mode, "\" is not the name of a gradient mode; there are ",
                     ModeNamesText()));
  }
  if (options.deferred_norms && !layout::IsAutomatic(options.mode) &&
      mode->mode.norm == layout::Norm::kNone) {
    return absl::InvalidArgumentError(
        absl::StrCat("--deferred_norms needs a mode that computes norms, but --mode ", options.mode,
                     " computes none"));
  }
  ASSIGN_OR_RETURN(const layout::Strategy strategy, ParseStrategy(options.strategy));
  if (mode->strategy.has_value() && mode->strategy != strategy) {
    return absl::InvalidArgumentError(absl::StrCat("--mode ", options.mode, " means ",
                                                   layout::StrategyName(*mode->strategy),
                                                   ", but --strategy is ", options.strategy));
  }
  return layout::ScheduleChoice{.mode = mode->mode, .strategy = strategy};
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

// `values` of one parameter from the unit's flat buffer.
absl::Span<const float> Part(const GradientsResult& result, const GradientsJob& job, int unit,
                             size_t parameter) {
  const layout::ParameterLayout& place = job.layout.unit(unit).parameters[parameter];
  return absl::MakeConstSpan(result.sums[unit]).subspan(place.offset, place.elements);
}

bool ClipsNothing(const GradientsOptions& options) {
  const auto mode = layout::FindMode(options.mode);
  return mode.has_value() && mode->norm == layout::Norm::kNone;
}

std::map<std::string, std::string> MetadataOf(const GradientsOptions& options) {
  return {{"mode", options.mode},
          {"clip_norm", ClipsNothing(options) ? std::string("none")
                                              : absl::StrFormat("%.17g", *options.clip_norm)}};
}

absl::Status Write(const GradientsJob& job, const GradientsResult& result,
                   const GradientsOptions& options, const std::string& path) {
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
                   checkpoint::SafetensorsWriter::Create(path, shapes, MetadataOf(options)));
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
                        const GradientsOptions& options) {
  const std::string& path = options.out;
  const std::string unfinished = absl::StrCat(path, ".unfinished");
  absl::Status status = Write(job, result, options, unfinished);
  if (status.ok() && std::rename(unfinished.c_str(), path.c_str()) != 0) {
    status = absl::ErrnoToStatus(errno, path);
  }
  if (!status.ok()) unlink(unfinished.c_str());
  return status;
}

absl::Status CheckOptions(const GradientsOptions& options) {
  if (options.clip_norm.has_value()) RETURN_IF_ERROR(CheckClipNorm(*options.clip_norm));
  RETURN_IF_ERROR(CheckWorldSize(options.world_size));
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
  RETURN_IF_ERROR(CheckOut(options.out, options.batch, options.model));
  ASSIGN_OR_RETURN(layout::ScheduleChoice schedule, ChooseSchedule(options));
  if (!options.clip_norm.has_value() && !ClipsNothing(options)) {
    return absl::InvalidArgumentError(absl::StrCat("--mode ", options.mode, " needs --clip_norm"));
  }
  ASSIGN_OR_RETURN(const PublicBatch batch, ReadPublicBatch(options.batch));
  ASSIGN_OR_RETURN(const ModelDirectory directory, OpenModelDirectory(options.model));
  const layout::ModelDescription& model = directory.description;
  RETURN_IF_ERROR(CheckTokens(batch, model.vocabulary_size));
  RETURN_IF_ERROR(CheckLength(model, batch.tokens));
  ASSIGN_OR_RETURN(const layout::RankGrid grid,
                   ChooseGrid(schedule.strategy, options.world_size, options.shard_group_size));
  ASSIGN_OR_RETURN(const layout::FlatLayout layout, layout::FlatLayout::Create(model, grid.shards));
  const int64_t micro_batch_size = ChooseMicroBatchSize(options, batch, model);
  RETURN_IF_ERROR(ResolveMode(options, model, batch.tokens, micro_batch_size, schedule));
  const GradientsJob job{
      .model = model,
      .layout = layout,
      .weights = directory.weights,
      .batch = batch,
      .schedule = schedule,
      .grid = grid,
      .clip_norm = options.clip_norm.value_or(1),  // of no_dp: never used
      .micro_batch_size = micro_batch_size,
      .in_bfloat16 = options.dtype == "bf16",
      .threads = ChooseThreads(model, batch.examples * batch.tokens, options.world_size)};
  GradientsResult result;
  result.losses_B.resize(batch.examples);
  result.norms_B.resize(batch.examples);
  for (const layout::UnitLayout& unit : layout.units()) {
    result.sums.emplace_back(unit.padded_elements);
  }
  RETURN_IF_ERROR(RunAsThreads(options.world_size,
                               layout::CommunicatorBytes(layout, options.world_size),
                               [&](comm::Communicator& communicator) {
                                 return RunGradientsRank(job, communicator, result);
                               }));
  return WriteWhole(job, result, options);
}

std::string ClippingRemark(const GradientsOptions& options) {
  if (!ClipsNothing(options)) return "";
  return absl::StrCat(options.mode, " clips nothing: ",
                      options.clip_norm.has_value()
                          ? absl::StrCat("--clip_norm ", *options.clip_norm, " is not used, ")
                          : "",
                      "clipped.NAME of ", options.out, " are unclipped sums");
}

}  // namespace sotto::check
