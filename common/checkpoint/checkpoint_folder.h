// Names inside the folder of a job's checkpoints.
#ifndef SOTTO_COMMON_CHECKPOINT_CHECKPOINT_FOLDER_H_
#define SOTTO_COMMON_CHECKPOINT_CHECKPOINT_FOLDER_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/checkpoint/checkpoint_writer.h"

namespace sotto::checkpoint {

inline constexpr char kManifestFile[] = "manifest.json";
inline constexpr char kLatestFile[] = "latest";
inline constexpr char kWritingPrefix[] = ".writing-";
inline constexpr char kRemovingPrefix[] = ".removing-";
inline constexpr int kFormatVersion = 1;

// The reverse of DirectoryName; nothing for any other name.
std::optional<CheckpointName> ParseDirectoryName(absl::string_view name);

// The complete checkpoints under `root`, newest first: a later attempt is newer than any step of an
// earlier one, since it may have begun before that one's last checkpoint. Empty when there is no
// such folder.
std::vector<CheckpointName> ListCheckpoints(const std::string& root);

// "rank-00000-of-00002.safetensors".
std::string ShardFileName(int rank, int world_size);

// "<unit>/<kind>": a tensor of a shard file.
std::string ShardTensorName(absl::string_view unit, absl::string_view kind);

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_CHECKPOINT_FOLDER_H_
