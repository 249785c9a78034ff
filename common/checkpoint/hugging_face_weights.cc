#include "common/checkpoint/hugging_face_weights.h"

#include <algorithm>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"

namespace sotto::checkpoint {
namespace {

constexpr const char* kPrefixes[] = {"", "transformer.", "model."};
constexpr char kHead[] = "lm_head.weight";
constexpr const char* kEmbeddings[] = {"wte.weight", "embed_tokens.weight"};
// Floats compared at once.
constexpr int64_t kPieceElements = 1 << 16;

// The tensor of the parameter; a null entry when there is none.
absl::StatusOr<FileTensor> FindTensor(const HuggingFaceFiles& files, const std::string& parameter) {
  FileTensor found;
  for (const char* prefix : kPrefixes) {
    const auto tensor = files.tensors().find(absl::StrCat(prefix, parameter));
    if (tensor == files.tensors().end()) continue;
    if (found.entry != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("tensors ", found.entry->name, " and ",
                                                     tensor->first, " are the same parameter"));
    }
    found = tensor->second;
  }
  return found;
}

bool IsEmbedding(const std::string& parameter) {
  return std::find(std::begin(kEmbeddings), std::end(kEmbeddings), parameter) !=
         std::end(kEmbeddings);
}

bool IsAdded(const std::string& parameter) { return absl::StrContains(parameter, "lora_"); }

bool IsFloat(absl::string_view dtype) {
  return dtype == "F32" || dtype == "F16" || dtype == "BF16" || dtype == "F64";
}

// Buffers that older exports hold beside the parameters.
bool IsBuffer(const SafetensorsEntry& entry) {
  return (absl::EndsWith(entry.name, ".attn.bias") && entry.shape.size() == 4) ||
         absl::EndsWith(entry.name, ".attn.masked_bias") ||
         absl::EndsWith(entry.name, "rotary_emb.inv_freq");
}

absl::Status CheckTensor(const FileTensor& tensor, const layout::ParameterDescription& parameter) {
  const SafetensorsEntry& entry = *tensor.entry;
  if (entry.shape != parameter.shape) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", entry.name, " must have the shape [", absl::StrJoin(parameter.shape, ", "),
        "], but has [", absl::StrJoin(entry.shape, ", "), "]"));
  }
  if (!IsFloat(entry.dtype)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", entry.name, " must be F32, F16, BF16 or F64, but is ", entry.dtype));
  }
  return absl::OkStatus();
}

absl::Status CheckNothingLeft(const HuggingFaceFiles& files, const std::set<std::string>& used,
                              bool head_may_stay) {
  for (const auto& [name, tensor] : files.tensors()) {
    if (used.contains(name) || IsBuffer(*tensor.entry)) continue;
    if (name == kHead && head_may_stay) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("tensor ", name, " is not one of this model's (see config.json)"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> HasOwnHead(const HuggingFaceFiles& files, int part, int parts) {
  ASSIGN_OR_RETURN(const FileTensor head, FindTensor(files, kHead));
  if (head.entry == nullptr) return false;
  for (const char* name : kEmbeddings) {
    ASSIGN_OR_RETURN(const FileTensor embedding, FindTensor(files, name));
    if (embedding.entry == nullptr) continue;
    if (embedding.entry->shape != head.entry->shape) return true;
    const int64_t elements = head.entry->num_elements();
    const int64_t share = (elements + parts - 1) / parts;
    const int64_t end = std::min(elements, (part + 1) * share);
    std::vector<float> a, b;
    for (int64_t begin = part * share; begin < end; begin += kPieceElements) {
      a.resize(std::min(kPieceElements, end - begin));
      b.resize(a.size());
      RETURN_IF_ERROR(ReadAsFloats(head, begin, absl::MakeSpan(a)));
      RETURN_IF_ERROR(ReadAsFloats(embedding, begin, absl::MakeSpan(b)));
      if (a != b) return true;
    }
  }
  return false;
}

absl::StatusOr<HuggingFaceWeights> HuggingFaceWeights::Match(
    const HuggingFaceFiles& files, const layout::ModelDescription& model) {
  HuggingFaceWeights weights;
  std::set<std::string> used;
  bool has_head = false;
  for (const layout::UnitDescription& unit : model.units) {
    std::vector<FileTensor>& tensors = weights.tensors_.emplace_back();
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      has_head = has_head || parameter.name == kHead;
      ASSIGN_OR_RETURN(FileTensor tensor, FindTensor(files, parameter.name));
      tensors.push_back(tensor);
    }
  }
  for (size_t unit = 0; unit < model.units.size(); ++unit) {
    for (size_t i = 0; i < model.units[unit].parameters.size(); ++i) {
      const layout::ParameterDescription& parameter = model.units[unit].parameters[i];
      FileTensor& tensor = weights.tensors_[unit][i];
      if (tensor.entry == nullptr && !has_head && IsEmbedding(parameter.name)) {
        ASSIGN_OR_RETURN(tensor, FindTensor(files, kHead));
      }
      if (tensor.entry == nullptr) {
        if (IsAdded(parameter.name)) continue;
        return absl::InvalidArgumentError(
            absl::StrCat("tensor ", parameter.name,
                         " (or the same behind transformer. or model.) "
                         "is missing"));
      }
      RETURN_IF_ERROR(CheckTensor(tensor, parameter));
      used.insert(tensor.entry->name);
    }
  }
  RETURN_IF_ERROR(CheckNothingLeft(files, used, /*head_may_stay=*/!has_head));
  return weights;
}

}  // namespace sotto::checkpoint
