#include "worker/infer/capturer.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <variant>

#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/safetensors_reader.h"
#include "common/checkpoint/safetensors_writer.h"
#include "worker/infer/line_output.h"

namespace sotto::infer {
namespace {

using checkpoint::SafetensorsReader;
using checkpoint::SafetensorsWriter;
using checkpoint::TensorShape;

int64_t WidthOf(const layout::ModelDescription& description) {
  if (const auto* gpt2 = std::get_if<layout::Gpt2Dimensions>(&description.family)) {
    return gpt2->width;
  }
  return std::get<layout::LlamaDimensions>(description.family).width;
}

absl::Status CheckLayers(const layout::ModelDescription& description,
                         const std::vector<int64_t>& layers) {
  const int64_t blocks = static_cast<int64_t>(description.stages.size()) - 2;
  std::set<int64_t> seen;
  for (const int64_t layer : layers) {
    if (layer < 0 || layer > blocks) {
      return absl::InvalidArgumentError(
          absl::StrCat("inference.capture.layers must be from 0 (the embeddings) to ", blocks,
                       " (after the last block), but one is ", layer));
    }
    if (!seen.insert(layer).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("inference.capture.layers must not repeat ", layer));
    }
  }
  if (!layers.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError("inference.capture.layers must name at least one layer");
}

// The tensors of those prompts that `is_mine` takes, in order.
std::vector<TensorShape> ShapesOf(const Task& task, const std::vector<int64_t>& layers,
                                  absl::FunctionRef<bool(int64_t prompt)> is_mine) {
  const int64_t width = WidthOf(task.model.description());
  std::vector<TensorShape> shapes;
  for (int64_t prompt = 0; prompt < static_cast<int64_t>(task.prompts.size()); ++prompt) {
    if (!is_mine(prompt)) continue;
    const auto tokens = static_cast<int64_t>(task.prompts[prompt].tokens.size());
    for (const int64_t layer : layers) {
      shapes.push_back({.name = CapturedName(prompt, layer), .shape = {tokens, width}});
    }
  }
  return shapes;
}

// The rows of a group's texts, text after text and layer after layer; `captured` is by layer.
absl::Status Write(const Task& task, const TextGroup& group, const std::vector<int64_t>& layers,
                   const std::vector<at::Tensor>& captured, SafetensorsWriter& part) {
  for (int64_t b = 0; b < group.size; ++b) {
    const int64_t prompt = group.first + b;
    const auto tokens = static_cast<int64_t>(task.prompts[prompt].tokens.size());
    for (size_t i = 0; i < layers.size(); ++i) {
      const at::Tensor rows = captured[i].select(0, b).narrow(0, 0, tokens).contiguous();
      const absl::Span<const float> values(rows.const_data_ptr<float>(), rows.numel());
      if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) {
        return absl::InvalidArgumentError(absl::StrCat("model must have finite weights: layer ",
                                                       layers[i], " of prompt ", prompt,
                                                       " is not finite"));
      }
      RETURN_IF_ERROR(part.Append(values));
    }
  }
  return absl::OkStatus();
}

absl::Status Merge(const Task& task, const std::vector<int64_t>& layers) {
  const TemporaryFile file(MergedPath(task.unfinished));
  const std::vector<TensorShape> shapes = ShapesOf(task, layers, [](int64_t) { return true; });
  std::vector<std::unique_ptr<SafetensorsReader>> parts;
  for (int rank = 0; rank < task.communicator.world_size(); ++rank) {
    ASSIGN_OR_RETURN(parts.emplace_back(),
                     SafetensorsReader::Open(PartPath(task.unfinished, rank)));
  }
  ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::Create(file.path(), shapes, {}));
  const TextGroups groups = task.groups();
  std::vector<float> values;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const auto prompt = static_cast<int64_t>(i / layers.size());
    values.resize(shapes[i].shape[0] * shapes[i].shape[1]);
    RETURN_IF_ERROR(parts[groups.OwnerOf(prompt)]->ReadFloats(shapes[i].name, /*begin=*/0,
                                                              absl::MakeSpan(values)));
    RETURN_IF_ERROR(writer.Append(values));
  }
  RETURN_IF_ERROR(writer.Finish().status());
  return GiveName(file.path(), task.output, task.options.may_replace_output);
}

}  // namespace

std::string CapturedName(int64_t prompt, int64_t layer) {
  return absl::StrCat("prompt.", prompt, ".layer.", layer);
}

absl::StatusOr<Outcome> RunCapture(const Task& task, const std::vector<int64_t>& layers) {
  RETURN_IF_ERROR(CheckLayers(task.model.description(), layers));
  const int rank = task.communicator.rank();
  const TextGroups all_groups = task.groups();
  const TemporaryFile file(PartPath(task.unfinished, rank));
  ASSIGN_OR_RETURN(SafetensorsWriter part,
                   SafetensorsWriter::Create(
                       file.path(),
                       ShapesOf(task, layers,
                                [&](int64_t prompt) { return all_groups.OwnerOf(prompt) == rank; }),
                       {}));
  const auto run = [&](const std::vector<TextGroup>& groups) -> absl::StatusOr<bool> {
    std::vector<models::InferenceBatch> batches;
    for (const TextGroup& group : groups) {
      std::vector<std::vector<int32_t>> texts;
      for (int64_t i = 0; i < group.size; ++i) {
        texts.push_back(task.prompts[group.first + i].tokens);
      }
      batches.push_back(PadTexts(texts));
      batches.back().wanted = at::zeros({0}, at::kLong);
    }
    // By group and position in `layers`.
    std::vector<std::vector<at::Tensor>> captured(groups.size(),
                                                  std::vector<at::Tensor>(layers.size()));
    RETURN_IF_ERROR(task.model.forward().Begin(/*passes=*/1));
    RETURN_IF_ERROR(task.model.forward().Run(
        batches,
        [&](size_t group, int stage, const at::Tensor& output) {
          const auto found = std::find(layers.begin(), layers.end(), stage);
          if (found != layers.end()) captured[group][found - layers.begin()] = output;
        },
        [](size_t, int64_t, const at::Tensor&) {}));
    for (size_t group = 0; group < groups.size(); ++group) {
      RETURN_IF_ERROR(Write(task, groups[group], layers, captured[group], part));
    }
    return true;
  };
  ASSIGN_OR_RETURN(const Outcome outcome, RunPasses(task, run));
  if (outcome.was_stopped) return outcome;
  RETURN_IF_ERROR(part.Finish().status());
  RETURN_IF_ERROR(FinishTogether(task, [&] { return Merge(task, layers); }));
  return outcome;
}

}  // namespace sotto::infer
