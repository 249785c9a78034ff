#include "worker/infer/model_saver.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/half_floats.h"
#include "common/checkpoint/hugging_face_weights.h"
#include "common/checkpoint/hugging_face_writer.h"
#include "common/layout/execution_schedule.h"
#include "common/spec/hugging_face_config_writer.h"

namespace sotto::infer {
namespace {

using checkpoint::FileTensor;
using checkpoint::TensorShape;

constexpr char kHead[] = "lm_head.weight";
constexpr int64_t kPieceElements = int64_t{1} << 20;

bool IsFloat(const std::string& dtype) {
  return dtype == "F32" || dtype == "F16" || dtype == "BF16";
}

// What a directory may hold besides weights and configuration.
constexpr const char* kCompanions[] = {
    "added_tokens.json", "chat_template.jinja",     "generation_config.json",
    "merges.txt",        "special_tokens_map.json", "tokenizer.json",
    "tokenizer.model",   "tokenizer_config.json",   "vocab.json"};

// As the file will hold it.
float Rounded(float value, const std::string& dtype) {
  if (dtype == "BF16") return checkpoint::FloatOfBfloat16(checkpoint::Bfloat16OfFloat(value));
  if (dtype == "F16") return checkpoint::FloatOfFloat16(checkpoint::Float16OfFloat(value));
  return value;
}

bool HasParameter(const layout::UnitDescription& unit, const std::string& name) {
  return std::any_of(unit.parameters.begin(), unit.parameters.end(),
                     [&](const layout::ParameterDescription& p) { return p.name == name; });
}

bool IsEmbedding(const std::string& parameter) {
  return parameter == "wte.weight" || parameter == "embed_tokens.weight";
}

absl::Status AdapterError(const std::string& parameter) {
  return absl::InvalidArgumentError(
      absl::StrCat("model must have no low-rank adapters to be written back, but has ", parameter,
                   "; `sotto export` merges them"));
}

absl::Status DoubleError(const std::string& tensor) {
  return absl::InvalidArgumentError(
      absl::StrCat("model must have no float64 tensors to be written back, since it is held in "
                   "float32, but has ",
                   tensor));
}

std::vector<TensorShape> ShapesOf(const SavePlan& plan,
                                  const layout::ModelDescription& description) {
  std::vector<TensorShape> shapes;
  for (const SavePlan::Tensor& tensor : plan.tensors) {
    shapes.push_back(
        {.name = tensor.name,
         .shape = tensor.unit < 0
                      ? tensor.source.entry->shape
                      : description.units[tensor.unit].parameters[tensor.parameter].shape,
         .dtype = tensor.dtype});
  }
  return shapes;
}

absl::Status Copy(const FileTensor& source, checkpoint::HuggingFaceWriter& writer) {
  std::vector<float> piece;
  const int64_t elements = source.entry->num_elements();
  for (int64_t begin = 0; begin < elements; begin += kPieceElements) {
    piece.resize(std::min(kPieceElements, elements - begin));
    RETURN_IF_ERROR(checkpoint::ReadAsFloats(source, begin, absl::MakeSpan(piece)));
    RETURN_IF_ERROR(writer.Append(piece));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SavePlan> PlanLike(const std::string& directory,
                                  const checkpoint::HuggingFaceFiles& files,
                                  const layout::ModelDescription& description) {
  ASSIGN_OR_RETURN(const checkpoint::HuggingFaceWeights weights,
                   checkpoint::HuggingFaceWeights::Match(files, description));
  SavePlan plan;
  ASSIGN_OR_RETURN(plan.config, ReadFile(absl::StrCat(directory, "/config.json")));
  for (const char* name : kCompanions) {
    std::string path = absl::StrCat(directory, "/", name);
    if (std::filesystem::is_regular_file(path)) plan.copies[name] = std::move(path);
  }
  const bool is_tied = !HasParameter(description.units[0], kHead);
  const auto head = files.tensors().find(kHead);
  std::set<std::string> planned;
  const auto add = [&](const std::string& name, int unit, int parameter) {
    const FileTensor& source = files.tensors().at(name);
    if (!planned.insert(name).second) return;
    plan.tensors.push_back({.name = name,
                            .dtype = source.entry->dtype,
                            .unit = unit,
                            .parameter = parameter,
                            .source = source});
  };
  for (size_t unit = 0; unit < description.units.size(); ++unit) {
    for (size_t i = 0; i < description.units[unit].parameters.size(); ++i) {
      const std::string& parameter = description.units[unit].parameters[i].name;
      const int u = static_cast<int>(unit);
      const int p = static_cast<int>(i);
      if (!weights.Has(u, p)) return AdapterError(parameter);
      add(weights.TensorName(u, p), u, p);
      if (is_tied && IsEmbedding(parameter) && head != files.tensors().end()) add(kHead, u, p);
    }
  }
  for (const auto& [name, tensor] : files.tensors()) {
    if (tensor.entry->dtype == "F64") return DoubleError(name);
    if (IsFloat(tensor.entry->dtype)) add(name, /*unit=*/-1, /*parameter=*/-1);
  }
  return plan;
}

absl::StatusOr<SavePlan> PlanOfFamily(const v1::ModelSpec& model,
                                      const layout::ModelDescription& description) {
  ASSIGN_OR_RETURN(spec::HuggingFaceConfigText config, spec::FormatHuggingFaceConfig(model, "F32"));
  SavePlan plan{.config = std::move(config.json)};
  for (size_t unit = 0; unit < description.units.size(); ++unit) {
    for (size_t i = 0; i < description.units[unit].parameters.size(); ++i) {
      const std::string& parameter = description.units[unit].parameters[i].name;
      if (absl::StrContains(parameter, ".lora_")) return AdapterError(parameter);
      plan.tensors.push_back({.name = checkpoint::HuggingFaceName(config.model_type, parameter),
                              .dtype = "F32",
                              .unit = static_cast<int>(unit),
                              .parameter = static_cast<int>(i)});
    }
  }
  return plan;
}

bool IsOfModel(const std::string& file) {
  return file == "config.json" || file == "model.safetensors" ||
         std::find(std::begin(kCompanions), std::end(kCompanions), file) != std::end(kCompanions);
}

absl::Status CheckFinite(const SavePlan& plan, fsdp::ShardedParameters& parameters) {
  for (const SavePlan::Tensor& tensor : plan.tensors) {
    if (tensor.unit < 0) continue;
    const ParameterSlice slice = SliceOf(parameters, tensor.unit, tensor.parameter);
    const auto found = std::find_if(slice.values.begin(), slice.values.end(), [&](float value) {
      return !std::isfinite(Rounded(value, tensor.dtype));
    });
    if (found == slice.values.end()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "edited weights must be finite, but element ", slice.first + (found - slice.values.begin()),
        " of tensor ", tensor.name, " is not, as ", tensor.dtype));
  }
  return absl::OkStatus();
}

absl::Status SaveModel(ShardedModel& model, comm::Communicator& communicator, const SavePlan& plan,
                       const std::string& directory, const std::string& unfinished) {
  fsdp::ShardedParameters& parameters = model.parameters();
  std::unique_ptr<checkpoint::HuggingFaceWriter> writer;
  if (communicator.rank() == 0) {
    ASSIGN_OR_RETURN(writer,
                     checkpoint::HuggingFaceWriter::Create({.directory = directory,
                                                            .config = plan.config,
                                                            .copies = plan.copies,
                                                            .unfinished = unfinished},
                                                           ShapesOf(plan, model.description())));
  }
  int gathered = -1;
  for (const SavePlan::Tensor& tensor : plan.tensors) {
    if (tensor.unit < 0) {
      if (writer != nullptr) RETURN_IF_ERROR(Copy(tensor.source, *writer));
      continue;
    }
    const int slot =
        layout::HasSlotPerUnit(parameters.strategy()) ? tensor.unit : std::min(tensor.unit, 1);
    if (tensor.unit != gathered) RETURN_IF_ERROR(parameters.Gather(tensor.unit, slot));
    gathered = tensor.unit;
    if (writer == nullptr) continue;
    const at::Tensor& values = parameters.ParameterViews(tensor.unit, slot)[tensor.parameter];
    RETURN_IF_ERROR(
        writer->Append({values.const_data_ptr<float>(), static_cast<size_t>(values.numel())}));
  }
  if (writer != nullptr) RETURN_IF_ERROR(writer->Finish());
  return communicator.Barrier();
}

}  // namespace sotto::infer
