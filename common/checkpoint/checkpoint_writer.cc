#include "common/checkpoint/checkpoint_writer.h"

#include <google/protobuf/util/json_util.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint_folder.h"
#include "common/checkpoint/safetensors_writer.h"

namespace sotto::checkpoint {
namespace {

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

// A worker that was given up may still run: it must not take the newest place from its successor.
absl::Status CheckNewestAttempt(const std::string& root, int64_t attempt) {
  const std::vector<CheckpointName> names = ListCheckpoints(root);
  if (names.empty() || names.front().attempt <= attempt) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat("attempt ", attempt, " may save no more: ", root,
                                         " holds a checkpoint of attempt ", names.front().attempt));
}

// Without name and rank.
absl::StatusOr<v1::CheckpointFile> WriteShards(const std::string& path,
                                               absl::Span<const ShardTensor> tensors,
                                               const std::function<void()>& on_read,
                                               FileOperations& files) {
  std::vector<TensorShape> shapes;
  for (const ShardTensor& tensor : tensors) {
    shapes.push_back(
        {ShardTensorName(tensor.unit, tensor.kind), {static_cast<int64_t>(tensor.values.size())}});
  }
  ASSIGN_OR_RETURN(SafetensorsWriter writer,
                   SafetensorsWriter::Create(path, shapes, /*metadata=*/{}, files));
  for (const ShardTensor& tensor : tensors) RETURN_IF_ERROR(writer.Append(tensor.values));
  on_read();
  v1::CheckpointFile file;
  ASSIGN_OR_RETURN(*file.mutable_sha256(), writer.Finish());
  file.set_bytes(writer.bytes_written());
  return file;
}

// Not synced: nobody reads it after a crash.
absl::Status WriteRecord(const std::string& path, const v1::CheckpointFile& file,
                         FileOperations& files) {
  ASSIGN_OR_RETURN(const UniqueFd record, files.Create(path));
  return files.Write(record.get(), ToJson(file));
}

}  // namespace

absl::Status WriteShardFile(const std::string& root, const CheckpointName& name, int rank,
                            int world_size, absl::Span<const ShardTensor> tensors,
                            const std::function<void()>& on_read, FileOperations& files) {
  const std::string folder = WritingFolder(root, name);
  RETURN_IF_ERROR(MakeFolders(files, root));
  RETURN_IF_ERROR(files.MakeFolder(folder));  // Ranks do this at the same time.
  const std::string path = absl::StrCat(folder, "/", ShardFileName(rank, world_size));
  const absl::StatusOr<v1::CheckpointFile> file = WriteShards(path, tensors, on_read, files);
  absl::Status status = file.status();
  if (status.ok()) {
    v1::CheckpointFile record = *file;
    record.set_name(ShardFileName(rank, world_size));
    record.set_rank(rank);
    status = WriteRecord(RecordPath(folder, rank, world_size), record, files);
  }
  if (!status.ok()) files.Remove(path).IgnoreError();  // A full disk needs the room.
  return status;
}

absl::StatusOr<std::string> CommitCheckpoint(const std::string& root,
                                             v1::CheckpointManifest manifest,
                                             FileOperations& files) {
  const CheckpointName name = {.step = manifest.step(), .attempt = manifest.attempt()};
  RETURN_IF_ERROR(CheckNewestAttempt(root, name.attempt));
  const std::string writing = WritingFolder(root, name);
  const int world_size = manifest.world_size();
  manifest.clear_files();
  for (int rank = 0; rank < world_size; ++rank) {
    ASSIGN_OR_RETURN(*manifest.add_files(), ReadRecord(writing, rank, world_size));
  }
  manifest.set_format_version(kFormatVersion);
  for (int rank = 0; rank < world_size; ++rank) {
    RETURN_IF_ERROR(files.Remove(RecordPath(writing, rank, world_size)));
  }
  RETURN_IF_ERROR(WriteSynced(files, absl::StrCat(writing, "/", kManifestFile), ToJson(manifest)));
  RETURN_IF_ERROR(files.SyncFolder(writing));  // Also the names of the ranks' files.

  const std::string directory = absl::StrCat(root, "/", DirectoryName(name));
  RETURN_IF_ERROR(files.Rename(writing, directory));
  RETURN_IF_ERROR(files.SyncFolder(root));
  RETURN_IF_ERROR(
      ReplaceFile(files, absl::StrCat(root, "/", kLatestFile), DirectoryName(name) + "\n"));
  return directory;
}

}  // namespace sotto::checkpoint
