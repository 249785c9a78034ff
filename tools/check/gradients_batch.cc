#include "tools/check/gradients_batch.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>
#include <utility>

#include "ATen/ops/zeros.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/output_file.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/safetensors_reader.h"
#include "common/dataset/token_file_header.h"

namespace sotto::check {
namespace {

using checkpoint::SafetensorsEntry;
using checkpoint::SafetensorsReader;

bool IsPreparedDataset(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic(dataset::kTokenFileMagic.size(), '\0');
  return file.read(magic.data(), static_cast<std::streamsize>(magic.size())) &&
         magic == dataset::kTokenFileMagic;
}

// False also where one of them does not exist.
bool IsSameFile(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::error_code error;
  const bool same = std::filesystem::equivalent(a, b, error);
  return !error && same;
}

// Whether the model is read from the file of this name, or would be if it were there.
bool IsOfModel(const std::string& out, const std::string& model) {
  const std::filesystem::path path(out);
  const std::filesystem::path folder = path.parent_path();
  if (!IsSameFile(folder.empty() ? std::filesystem::path(".") : folder, model)) return false;
  const std::string name = path.filename().string();
  const std::string index_name = "model.safetensors.index.json";
  if (name == "config.json" || name == "model.safetensors" || name == index_name) return true;
  const absl::StatusOr<std::string> index = ReadFile(absl::StrCat(model, "/", index_name));
  return index.ok() && index->find(absl::StrCat("\"", name, "\"")) != std::string::npos;
}

// The tensor, when it has two dimensions and one of the types.
absl::StatusOr<const SafetensorsEntry*> FindMatrix(const SafetensorsReader& file,
                                                   const std::string& path, const char* name,
                                                   const std::vector<std::string>& dtypes) {
  const SafetensorsEntry* entry = file.Find(name);
  if (entry == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ", name, " is missing"));
  }
  if (std::find(dtypes.begin(), dtypes.end(), entry->dtype) == dtypes.end()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ", name, " must be ",
                                                   absl::StrJoin(dtypes, " or "), ", but is ",
                                                   entry->dtype));
  }
  if (entry->shape.size() != 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": tensor ", name, " must have two dimensions, but has ", entry->shape.size()));
  }
  return entry;
}

absl::Status ReadMask(const SafetensorsReader& file, const std::string& path, PublicBatch& batch) {
  ASSIGN_OR_RETURN(const SafetensorsEntry* mask,
                   FindMatrix(file, path, "loss_mask", {"U8", "BOOL"}));
  if (mask->shape[0] != batch.examples || mask->shape[1] != batch.tokens - 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": loss_mask must have the shape [", batch.examples, ", ", batch.tokens - 1,
        "] (one column fewer than tokens), but has [", absl::StrJoin(mask->shape, ", "), "]"));
  }
  const absl::Span<const uint8_t> bytes = file.Bytes(*mask);
  std::copy(bytes.begin(), bytes.end(), batch.scored.begin());
  if (std::none_of(bytes.begin(), bytes.end(), [](uint8_t m) { return m > 1; })) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(path, ": loss_mask must hold 0 and 1 only"));
}

}  // namespace

models::MicroBatch PublicBatch::Slice(int64_t begin, int64_t count) const {
  models::MicroBatch batch{.tokens_BT = at::zeros({count, tokens}, at::kLong),
                           .loss_mask_BT = at::zeros({count, tokens}, at::kFloat)};
  for (int64_t row = 0; row < count; ++row) {
    const int64_t example = begin + row;
    batch.example_ids.push_back(example < examples ? example : -1);
    if (example >= examples) continue;
    std::copy_n(ids.data() + example * tokens, tokens,
                batch.tokens_BT.data_ptr<int64_t>() + row * tokens);
    float* mask = batch.loss_mask_BT.data_ptr<float>() + row * tokens;
    for (int64_t t = 1; t < tokens; ++t) {
      mask[t] = scored[example * (tokens - 1) + t - 1] != 0 ? 1.0f : 0.0f;
    }
  }
  return batch;
}

absl::StatusOr<PublicBatch> ReadPublicBatch(const std::string& path, bool needs_loss_mask) {
  if (IsPreparedDataset(path)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path,
                     " is a prepared dataset, whose records may be private: this command "
                     "writes what single examples give and takes only batches made for it "
                     "(safetensors with tokens and loss_mask)"));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsReader> file, SafetensorsReader::Open(path));
  ASSIGN_OR_RETURN(const SafetensorsEntry* tokens, FindMatrix(*file, path, "tokens", {"I64"}));
  PublicBatch batch{.examples = tokens->shape[0], .tokens = tokens->shape[1]};
  if (batch.tokens < 1) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": tokens must have at least one column"));
  }
  for (const SafetensorsEntry& entry : file->header().entries) {
    if (entry.name == "tokens" || entry.name == "loss_mask") continue;
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": tensor ", entry.name, " is neither tokens nor loss_mask"));
  }
  batch.ids.resize(tokens->num_elements());
  const absl::Span<const uint8_t> bytes = file->Bytes(*tokens);
  if (!batch.ids.empty()) std::memcpy(batch.ids.data(), bytes.data(), bytes.size());
  batch.scored.resize(batch.examples * (batch.tokens - 1));
  if (needs_loss_mask || file->Find("loss_mask") != nullptr) {
    RETURN_IF_ERROR(ReadMask(*file, path, batch));
  }
  return batch;
}

absl::Status CheckOut(const std::string& out, const std::string& batch, const std::string& model) {
  if (const absl::Status status = CheckOutputFile(out); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--out ", status.message()));
  }
  if (IsSameFile(out, batch)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--out must not be the file of --batch, but is ", out));
  }
  if (IsOfModel(out, model)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--out must not be a file that --model consists of, but is ", out));
  }
  if (IsPreparedDataset(out)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--out must not replace a prepared dataset, but is ", out));
  }
  return absl::OkStatus();
}

absl::Status CheckTokens(const PublicBatch& batch, int64_t vocabulary_size) {
  for (const int64_t token : batch.ids) {
    if (token >= 0 && token < vocabulary_size) continue;
    return absl::InvalidArgumentError(absl::StrCat("tokens must be in [0, ", vocabulary_size,
                                                   "), the model's vocabulary, but one is ",
                                                   token));
  }
  return absl::OkStatus();
}

}  // namespace sotto::check
