#include "common/checkpoint/hugging_face_folder.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/fd.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/with_path.h"

namespace sotto::checkpoint {
namespace {

absl::Status CheckEmpty(const std::string& directory) {
  std::error_code error;
  std::string path(absl::StripSuffix(directory, "/"));
  if (std::filesystem::is_symlink(path, error)) {
    return absl::AlreadyExistsError(
        absl::StrCat(path, " must not exist or be an empty folder, but is a link"));
  }
  if (!std::filesystem::exists(directory, error)) return absl::OkStatus();
  const bool is_empty = std::filesystem::is_empty(directory, error);
  if (error) return absl::UnavailableError(absl::StrCat(directory, ": ", error.message()));
  if (is_empty && std::filesystem::is_directory(directory, error)) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat(directory, " must not exist or be an empty folder, but holds something"));
}

}  // namespace

std::string HuggingFaceFolder::UnfinishedPath(absl::string_view directory, int64_t process) {
  return absl::StrCat(absl::StripSuffix(directory, "/"), ".writing-", process);
}

absl::StatusOr<std::unique_ptr<HuggingFaceFolder>> HuggingFaceFolder::Create(
    Options options, const HuggingFaceLayout& layout) {
  options.directory = std::string(absl::StripSuffix(options.directory, "/"));
  if (options.path.empty()) options.path = UnfinishedPath(options.directory, getpid());
  RETURN_IF_ERROR(CheckEmpty(options.directory));
  FileOperations& files = *options.files;
  std::unique_ptr<HuggingFaceFolder> folder(new HuggingFaceFolder(std::move(options), layout));
  RETURN_IF_ERROR(MakeFolders(files, FolderOf(folder->options_.directory)));
  RETURN_IF_ERROR(RemoveTree(files, folder->path()));
  RETURN_IF_ERROR(files.MakeFolder(folder->path()));
  for (const HuggingFaceLayout::File& file : layout.files()) {
    RETURN_IF_ERROR(folder->Reserve(file));
  }
  return folder;
}

HuggingFaceFolder::HuggingFaceFolder(Options options, const HuggingFaceLayout& layout)
    : options_(std::move(options)), layout_(layout) {}

HuggingFaceFolder::~HuggingFaceFolder() {
  // Best effort; there is nothing left after Publish.
  RemoveTree(*options_.files, path()).IgnoreError();
}

absl::Status HuggingFaceFolder::Reserve(const HuggingFaceLayout::File& file) {
  FileOperations& files = *options_.files;
  const std::string name = absl::StrCat(path(), "/", file.name);
  ASSIGN_OR_RETURN(const UniqueFd opened, files.Create(name));
  absl::Status status = files.Reserve(opened.get(), file.bytes);
  if (status.ok()) status = files.WriteAt(opened.get(), 0, file.head);
  if (status.ok()) status = files.Sync(opened.get());
  return WithPath(status, name);
}

absl::Status HuggingFaceFolder::Add(absl::string_view name, absl::string_view contents) {
  return WriteSynced(*options_.files, absl::StrCat(path(), "/", name), contents);
}

absl::Status HuggingFaceFolder::Publish() {
  if (layout_.files().size() > 1) {
    RETURN_IF_ERROR(Add("model.safetensors.index.json", layout_.FormatIndex()));
  }
  RETURN_IF_ERROR(Add("config.json", options_.config));
  for (const auto& [name, source] : options_.copies) {
    ASSIGN_OR_RETURN(const std::string contents, ReadFile(source));
    RETURN_IF_ERROR(Add(name, contents));
  }
  FileOperations& files = *options_.files;
  RETURN_IF_ERROR(files.SyncFolder(path()));
  RETURN_IF_ERROR(files.Rename(path(), options_.directory));
  return files.SyncFolder(FolderOf(options_.directory));
}

}  // namespace sotto::checkpoint
