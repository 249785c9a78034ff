#include "common/checkpoint/checkpoint_writer.h"

#include <google/protobuf/util/json_util.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint_folder.h"
#include "common/checkpoint/safetensors_writer.h"

namespace sotto::checkpoint {
namespace {

namespace fs = std::filesystem;

absl::Status DiskError(const absl::Status& status) {
  if (status.ok()) return status;
  return absl::UnavailableError(status.message());
}

std::string WritingFolder(const std::string& root, const CheckpointName& name) {
  return absl::StrCat(root, "/", kWritingPrefix, DirectoryName(name));
}

// What the manifest will say of a rank's file; beside the file until then.
std::string RecordPath(const std::string& folder, int rank, int world_size) {
  return absl::StrCat(folder, "/", ShardFileName(rank, world_size), ".json");
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string json;
  SOTTO_CHECK(google::protobuf::util::MessageToJsonString(message, &json, options).ok());
  return json;
}

// Ranks do this at the same time.
absl::Status MakeFolder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error)
    return absl::UnavailableError(absl::StrCat("cannot create ", path, ": ", error.message()));
  return absl::OkStatus();
}

absl::StatusOr<v1::CheckpointFile> ReadRecord(const std::string& folder, int rank, int world_size) {
  const std::string path = RecordPath(folder, rank, world_size);
  const absl::StatusOr<std::string> json = ReadFile(path);
  v1::CheckpointFile file;
  if (!json.ok() || !google::protobuf::util::JsonStringToMessage(*json, &file).ok()) {
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", rank, " of ", world_size, " wrote no file into ", folder));
  }
  return file;
}

// Removes all but the newest `keep` checkpoints, and what crashes left in the making.
void RemoveOld(const std::string& root, int keep) {
  std::error_code ignored;  // Best effort: the next commit tries again.
  const std::vector<CheckpointName> names = ListCheckpoints(root);
  for (size_t i = std::max(keep, 1); i < names.size(); ++i) {
    fs::remove_all(absl::StrCat(root, "/", DirectoryName(names[i])), ignored);
  }
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(root, ignored)) {
    if (absl::StartsWith(entry.path().filename().string(), kWritingPrefix)) {
      leftovers.push_back(entry.path());
    }
  }
  for (const fs::path& leftover : leftovers) fs::remove_all(leftover, ignored);
}

}  // namespace

absl::Status WriteShardFile(const std::string& root, const CheckpointName& name, int rank,
                            int world_size, absl::Span<const ShardTensor> tensors) {
  const std::string folder = WritingFolder(root, name);
  RETURN_IF_ERROR(MakeFolder(folder));
  std::vector<TensorShape> shapes;
  for (const ShardTensor& tensor : tensors) {
    shapes.push_back(
        {ShardTensorName(tensor.unit, tensor.kind), {static_cast<int64_t>(tensor.values.size())}});
  }
  v1::CheckpointFile file;
  file.set_name(ShardFileName(rank, world_size));
  file.set_rank(rank);
  ASSIGN_OR_RETURN(SafetensorsWriter writer,
                   SafetensorsWriter::Create(absl::StrCat(folder, "/", file.name()), shapes,
                                             /*metadata=*/{}));
  for (const ShardTensor& tensor : tensors) RETURN_IF_ERROR(writer.Append(tensor.values));
  ASSIGN_OR_RETURN(*file.mutable_sha256(), writer.Finish());
  file.set_bytes(writer.bytes_written());
  return DiskError(AtomicWriteFile(RecordPath(folder, rank, world_size), ToJson(file)));
}

absl::StatusOr<std::string> CommitCheckpoint(const std::string& root,
                                             v1::CheckpointManifest manifest, int keep) {
  const CheckpointName name = {.step = manifest.step(), .attempt = manifest.attempt()};
  const std::string writing = WritingFolder(root, name);
  const int world_size = manifest.world_size();
  manifest.clear_files();
  for (int rank = 0; rank < world_size; ++rank) {
    ASSIGN_OR_RETURN(*manifest.add_files(), ReadRecord(writing, rank, world_size));
  }
  manifest.set_format_version(kFormatVersion);
  RETURN_IF_ERROR(
      DiskError(AtomicWriteFile(absl::StrCat(writing, "/", kManifestFile), ToJson(manifest))));
  for (int rank = 0; rank < world_size; ++rank) {
    std::remove(RecordPath(writing, rank, world_size).c_str());
  }
  RETURN_IF_ERROR(DiskError(SyncFolder(writing)));

  const std::string directory = absl::StrCat(root, "/", DirectoryName(name));
  if (std::rename(writing.c_str(), directory.c_str()) != 0) {
    return DiskError(absl::ErrnoToStatus(errno, absl::StrCat("cannot name ", directory)));
  }
  RETURN_IF_ERROR(DiskError(SyncFolder(root)));
  RETURN_IF_ERROR(
      DiskError(AtomicWriteFile(absl::StrCat(root, "/", kLatestFile), DirectoryName(name) + "\n")));
  RemoveOld(root, keep);
  return directory;
}

}  // namespace sotto::checkpoint
