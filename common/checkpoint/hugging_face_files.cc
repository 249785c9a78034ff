#include "common/checkpoint/hugging_face_files.h"

#include <cstring>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/half_floats.h"
#include "nlohmann/json.hpp"

namespace sotto::checkpoint {
namespace {

using Json = nlohmann::json;

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

// The file's name when it lies in the directory itself.
bool IsPlainName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && !absl::StrContains(name, '/');
}

template <typename Stored, typename Convert>
void Copy(const uint8_t* bytes, int64_t begin, absl::Span<float> values, Convert convert) {
  for (size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, bytes + (begin + i) * sizeof(Stored), sizeof(Stored));
    values[i] = convert(stored);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<HuggingFaceFiles>> HuggingFaceFiles::Open(
    const std::string& directory) {
  auto files = std::unique_ptr<HuggingFaceFiles>(new HuggingFaceFiles());
  const std::string single = absl::StrCat(directory, "/", kSingleFile);
  const std::string index = absl::StrCat(directory, "/", kIndexFile);
  std::error_code ignored;  // What cannot be seen is not there.
  if (std::filesystem::exists(single, ignored)) {
    RETURN_IF_ERROR(files->AddFile(single));
    return files;
  }
  if (!std::filesystem::exists(index, ignored)) {
    return absl::NotFoundError(
        absl::StrCat(directory, " has neither ", kSingleFile, " nor ", kIndexFile));
  }
  RETURN_IF_ERROR(files->OpenIndexed(directory, index));
  return files;
}

absl::Status HuggingFaceFiles::AddFile(const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<SafetensorsReader> reader, SafetensorsReader::Open(path));
  for (const SafetensorsEntry& entry : reader->header().entries) {
    if (!tensors_.insert({entry.name, {reader.get(), &entry, &bytes_read_}}).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": tensor ", entry.name, " is in another file, too"));
    }
  }
  files_.push_back(std::move(reader));
  return absl::OkStatus();
}

absl::Status HuggingFaceFiles::OpenIndexed(const std::string& directory, const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const Json index = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto refuse = [&path](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", why));
  };
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return refuse("must be a JSON object with a weight_map");
  }
  std::map<std::string, std::string> weight_map;    // tensor -> file
  std::map<std::string, std::string> first_tensor;  // file -> tensor
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string() || !IsPlainName(file.get<std::string>())) {
      return refuse(absl::StrCat("the file of ", tensor,
                                 " must be the name of one in the same directory, but is ",
                                 file.dump()));
    }
    weight_map[tensor] = file.get<std::string>();
    first_tensor.insert({file.get<std::string>(), tensor});
  }
  for (const auto& [name, tensor] : first_tensor) {
    const absl::Status added = AddFile(absl::StrCat(directory, "/", name));
    if (absl::IsNotFound(added)) {
      return absl::NotFoundError(
          absl::StrCat(path, ": places tensor ", tensor, " in ", name, ", which is not there"));
    }
    RETURN_IF_ERROR(added);
    for (const SafetensorsEntry& entry : files_.back()->header().entries) {
      const auto place = weight_map.find(entry.name);
      if (place != weight_map.end() && place->second == name) continue;
      return refuse(
          absl::StrCat("does not place tensor ", entry.name, " in ", name, ", which holds it"));
    }
  }
  for (const auto& [tensor, file] : weight_map) {
    if (!tensors_.contains(tensor)) {
      return refuse(absl::StrCat("places tensor ", tensor, " in ", file, ", which lacks it"));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadAsFloats(const FileTensor& tensor, int64_t begin, absl::Span<float> values) {
  const SafetensorsEntry& entry = *tensor.entry;
  const int64_t count = static_cast<int64_t>(values.size());
  if (begin < 0 || begin > entry.num_elements() - count) {
    return absl::InvalidArgumentError(absl::StrCat("elements [", begin, ", ", begin + count,
                                                   ") are outside of ", entry.name, " with ",
                                                   entry.num_elements()));
  }
  const uint8_t* bytes = tensor.file->Bytes(entry).data();
  if (entry.dtype == "F32") {
    if (count > 0) std::memcpy(values.data(), bytes + begin * sizeof(float), count * sizeof(float));
  } else if (entry.dtype == "BF16") {
    Copy<uint16_t>(bytes, begin, values, FloatOfBfloat16);
  } else if (entry.dtype == "F16") {
    Copy<uint16_t>(bytes, begin, values, FloatOfFloat16);
  } else if (entry.dtype == "F64") {
    Copy<double>(bytes, begin, values, [](double value) { return static_cast<float>(value); });
  } else {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", entry.name, " must be F32, F16, BF16 or F64, but is ", entry.dtype));
  }
  const int64_t item = ItemBytes(entry.dtype);
  tensor.file->Release(tensor.file->Bytes(entry).subspan(begin * item, count * item));
  if (tensor.bytes_read != nullptr) *tensor.bytes_read += count * item;
  return absl::OkStatus();
}

}  // namespace sotto::checkpoint
