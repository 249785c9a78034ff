#include "common/checkpoint/hugging_face_export.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/safetensors_writer.h"
#include "nlohmann/json.hpp"

namespace sotto::checkpoint {
namespace {

// Floats copied at once: 4 MB.
constexpr int64_t kPieceElements = 1 << 20;

constexpr int kByteVocabulary = 257;  // 256 bytes and the end of a record
constexpr int kEndOfRecord = 256;

// Everything but the head lies in the inner model.
std::string HuggingFaceName(const std::string& name) {
  return name == "lm_head.weight" ? name : absl::StrCat("transformer.", name);
}

const char* ActivationName(v1::Activation activation) {
  switch (activation) {
    case v1::GELU:
      return "gelu";
    case v1::RELU:
      return "relu";
    case v1::SILU:
      return "silu";
    default:
      return "gelu_new";
  }
}

absl::Status MakeEmptyFolder(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) return absl::UnavailableError(absl::StrCat(directory, ": ", error.message()));
  const bool is_empty = std::filesystem::is_empty(directory, error);
  if (error) return absl::UnavailableError(absl::StrCat(directory, ": ", error.message()));
  if (!is_empty) {
    return absl::AlreadyExistsError(absl::StrCat(directory, " must be empty, but holds files"));
  }
  return absl::OkStatus();
}

absl::Status CopyTensor(const Checkpoint& checkpoint, const std::string& unit, int64_t begin,
                        int64_t elements, SafetensorsWriter& writer) {
  std::vector<float> piece(std::min(elements, kPieceElements));
  for (int64_t done = 0; done < elements; done += piece.size()) {
    piece.resize(std::min<int64_t>(piece.size(), elements - done));
    RETURN_IF_ERROR(checkpoint.Read(unit, "master", begin + done, absl::MakeSpan(piece)));
    RETURN_IF_ERROR(writer.Append(piece));
  }
  return absl::OkStatus();
}

int64_t CountElements(const TensorShape& tensor) {
  int64_t elements = 1;
  for (const int64_t extent : tensor.shape) elements *= extent;
  return elements;
}

}  // namespace

absl::StatusOr<std::string> HuggingFaceConfig(const v1::ModelSpec& model) {
  if (!model.has_gpt2()) {
    return absl::InvalidArgumentError("only gpt2 models have a Hugging Face form");
  }
  if (model.adaptation().has_lora()) {
    return absl::InvalidArgumentError(
        "a model with low-rank adapters has no Hugging Face form: they are not merged");
  }
  const v1::Gpt2Spec& gpt2 = model.gpt2();
  nlohmann::ordered_json config = {
      {"model_type", "gpt2"},
      {"architectures", {"GPT2LMHeadModel"}},
      {"activation_function", ActivationName(gpt2.activation())},
      {"vocab_size", gpt2.vocabulary_size()},
      {"n_embd", gpt2.width()},
      {"n_layer", gpt2.layers()},
      {"n_head", gpt2.heads()},
      {"n_positions", gpt2.max_length()},
      {"layer_norm_epsilon", gpt2.layer_norm_epsilon() == 0 ? 1e-5 : gpt2.layer_norm_epsilon()},
      {"initializer_range", gpt2.init_stddev() == 0 ? 0.02 : gpt2.init_stddev()},
      {"tie_word_embeddings", !gpt2.untied_head()},
      {"scale_attn_weights", !gpt2.unscaled_attention()},
      {"scale_attn_by_inverse_layer_idx", gpt2.scale_attention_by_layer()},
      {"attn_pdrop", 0.0},
      {"embd_pdrop", 0.0},
      {"resid_pdrop", 0.0},
      {"dtype", "float32"},
  };
  if (gpt2.hidden_width() > 0) config["n_inner"] = gpt2.hidden_width();
  if (gpt2.vocabulary_size() == kByteVocabulary) {
    config["bos_token_id"] = kEndOfRecord;
    config["eos_token_id"] = kEndOfRecord;
  }
  return config.dump(2) + "\n";
}

absl::StatusOr<int64_t> ExportHuggingFace(const Checkpoint& checkpoint,
                                          const std::string& directory) {
  ASSIGN_OR_RETURN(const std::string config, HuggingFaceConfig(checkpoint.manifest().model()));
  RETURN_IF_ERROR(MakeEmptyFolder(directory));

  std::vector<TensorShape> shapes;
  for (const v1::CheckpointUnit& unit : checkpoint.manifest().units()) {
    for (const v1::CheckpointTensor& tensor : unit.tensors()) {
      shapes.push_back(
          {HuggingFaceName(tensor.name()), {tensor.shape().begin(), tensor.shape().end()}});
    }
  }
  ASSIGN_OR_RETURN(SafetensorsWriter writer,
                   SafetensorsWriter::Create(absl::StrCat(directory, "/model.safetensors"), shapes,
                                             {{"format", "pt"}}));
  int64_t written = 0;
  for (const v1::CheckpointUnit& unit : checkpoint.manifest().units()) {
    for (const v1::CheckpointTensor& tensor : unit.tensors()) {
      RETURN_IF_ERROR(CopyTensor(checkpoint, unit.name(), tensor.offset(),
                                 CountElements(shapes[written]), writer));
      ++written;
    }
  }
  RETURN_IF_ERROR(writer.Finish().status());
  RETURN_IF_ERROR(AtomicWriteFile(absl::StrCat(directory, "/config.json"), config, 0644));
  return written;
}

}  // namespace sotto::checkpoint
