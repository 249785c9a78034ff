#include "worker/infer/save_plan.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/hugging_face_weights.h"
#include "common/checkpoint/hugging_face_writer.h"
#include "common/checkpoint/safetensors_header.h"
#include "common/spec/hugging_face_config_writer.h"

namespace sotto::infer {
namespace {

using checkpoint::FileTensor;

constexpr char kHead[] = "lm_head.weight";

// What a directory may hold besides weights and configuration.
constexpr const char* kCompanions[] = {
    "added_tokens.json", "chat_template.jinja",     "generation_config.json",
    "merges.txt",        "special_tokens_map.json", "tokenizer.json",
    "tokenizer.model",   "tokenizer_config.json",   "vocab.json"};

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
    if (!planned.contains(name)) {
      add(name, /*unit=*/-1, /*parameter=*/-1);
    } else if (tensor.entry->dtype == "F64") {
      return DoubleError(name);
    }
  }
  std::stable_sort(plan.tensors.begin(), plan.tensors.end(), [](const auto& a, const auto& b) {
    return checkpoint::ItemBytes(a.dtype) > checkpoint::ItemBytes(b.dtype);
  });
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

}  // namespace sotto::infer
