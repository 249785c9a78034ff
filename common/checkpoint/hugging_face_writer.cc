#include "common/checkpoint/hugging_face_writer.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/safetensors_header.h"
#include "nlohmann/json.hpp"

namespace sotto::checkpoint {
namespace {

absl::Status CheckEmpty(const std::string& directory) {
  std::error_code error;
  if (!std::filesystem::exists(directory, error)) return absl::OkStatus();
  const bool is_empty = std::filesystem::is_empty(directory, error);
  if (error) return absl::UnavailableError(absl::StrCat(directory, ": ", error.message()));
  if (is_empty && std::filesystem::is_directory(directory, error)) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat(directory, " must not exist or be an empty folder, but holds something"));
}

int64_t BytesOf(const TensorShape& tensor) {
  return tensor.num_elements() * ItemBytes(tensor.dtype);
}

// Tensors in their order; a new file when the next one does not fit.
std::vector<std::vector<TensorShape>> Divide(std::vector<TensorShape> tensors, int64_t max_bytes) {
  std::vector<std::vector<TensorShape>> files(1);
  int64_t bytes = 0;
  for (TensorShape& tensor : tensors) {
    if (max_bytes > 0 && !files.back().empty() && bytes + BytesOf(tensor) > max_bytes) {
      files.emplace_back();
      bytes = 0;
    }
    bytes += BytesOf(tensor);
    files.back().push_back(std::move(tensor));
  }
  return files;
}

}  // namespace

std::string HuggingFaceName(absl::string_view model_type, absl::string_view parameter) {
  if (parameter == "lm_head.weight") return std::string(parameter);
  return absl::StrCat(model_type == "gpt2" ? "transformer." : "model.", parameter);
}

absl::StatusOr<std::unique_ptr<HuggingFaceWriter>> HuggingFaceWriter::Create(
    Options options, std::vector<TensorShape> tensors) {
  options.directory = std::string(absl::StripSuffix(options.directory, "/"));
  RETURN_IF_ERROR(CheckEmpty(options.directory));
  std::vector<std::vector<TensorShape>> divided =
      Divide(std::move(tensors), options.max_file_bytes);
  std::vector<File> files;
  for (size_t i = 0; i < divided.size(); ++i) {
    File& file = files.emplace_back();
    file.name = divided.size() == 1
                    ? "model.safetensors"
                    : absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, divided.size());
    for (const TensorShape& tensor : divided[i]) file.elements += tensor.num_elements();
    file.tensors = std::move(divided[i]);
  }
  std::unique_ptr<HuggingFaceWriter> writer(
      new HuggingFaceWriter(std::move(options), std::move(files)));
  RETURN_IF_ERROR(MakeFolders(*writer->options_.files, FolderOf(writer->options_.directory)));
  RETURN_IF_ERROR(RemoveTree(*writer->options_.files, writer->writing_));
  RETURN_IF_ERROR(writer->options_.files->MakeFolder(writer->writing_));
  RETURN_IF_ERROR(writer->OpenNext());
  return writer;
}

HuggingFaceWriter::HuggingFaceWriter(Options options, std::vector<File> files)
    : options_(std::move(options)),
      writing_(options_.unfinished.empty() ? absl::StrCat(options_.directory, ".writing-", getpid())
                                           : options_.unfinished),
      files_(std::move(files)) {
  for (const File& file : files_) declared_ += file.elements;
}

HuggingFaceWriter::~HuggingFaceWriter() {
  // Best effort; there is nothing left after Finish.
  RemoveTree(*options_.files, writing_).IgnoreError();
}

absl::Status HuggingFaceWriter::OpenNext() {
  const File& file = files_[next_file_++];
  absl::StatusOr<SafetensorsWriter> writer = SafetensorsWriter::Create(
      absl::StrCat(writing_, "/", file.name), file.tensors, {{"format", "pt"}}, *options_.files);
  RETURN_IF_ERROR(writer.status());
  file_.emplace(*std::move(writer));
  remaining_ = file.elements;
  return absl::OkStatus();
}

absl::Status HuggingFaceWriter::CloseFile() {
  RETURN_IF_ERROR(file_->Finish().status());
  file_.reset();
  return absl::OkStatus();
}

absl::Status HuggingFaceWriter::Append(absl::Span<const float> values) {
  if (static_cast<int64_t>(values.size()) > declared_) {
    return absl::InvalidArgumentError(absl::StrCat(
        values.size(), " elements are appended, but only ", declared_, " are still declared"));
  }
  declared_ -= static_cast<int64_t>(values.size());
  while (!values.empty()) {
    if (remaining_ == 0) {
      RETURN_IF_ERROR(CloseFile());
      RETURN_IF_ERROR(OpenNext());
      continue;
    }
    const size_t count = std::min<size_t>(remaining_, values.size());
    RETURN_IF_ERROR(file_->Append(values.subspan(0, count)));
    remaining_ -= static_cast<int64_t>(count);
    values.remove_prefix(count);
  }
  return absl::OkStatus();
}

absl::Status HuggingFaceWriter::WriteIndex() {
  nlohmann::ordered_json places = nlohmann::ordered_json::object();
  int64_t bytes = 0;
  for (const File& file : files_) {
    for (const TensorShape& tensor : file.tensors) {
      places[tensor.name] = file.name;
      bytes += BytesOf(tensor);
    }
  }
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", bytes}}},
                                        {"weight_map", places}};
  return WriteSynced(*options_.files, absl::StrCat(writing_, "/model.safetensors.index.json"),
                     index.dump(2) + "\n");
}

absl::Status HuggingFaceWriter::Finish() {
  RETURN_IF_ERROR(CloseFile());
  while (next_file_ < files_.size()) {  // Only tensors without elements are left to hold.
    RETURN_IF_ERROR(OpenNext());
    RETURN_IF_ERROR(CloseFile());
  }
  if (files_.size() > 1) RETURN_IF_ERROR(WriteIndex());
  FileOperations& files = *options_.files;
  RETURN_IF_ERROR(WriteSynced(files, absl::StrCat(writing_, "/config.json"), options_.config));
  for (const auto& [name, source] : options_.copies) {
    ASSIGN_OR_RETURN(const std::string contents, ReadFile(source));
    RETURN_IF_ERROR(WriteSynced(files, absl::StrCat(writing_, "/", name), contents));
  }
  RETURN_IF_ERROR(files.SyncFolder(writing_));
  RETURN_IF_ERROR(files.Rename(writing_, options_.directory));
  return files.SyncFolder(FolderOf(options_.directory));
}

}  // namespace sotto::checkpoint
