// Reads checkpoints, at any world size.
#ifndef SOTTO_COMMON_CHECKPOINT_CHECKPOINT_READER_H_
#define SOTTO_COMMON_CHECKPOINT_CHECKPOINT_READER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/checkpoint/checkpoint_hold.h"
#include "common/checkpoint/safetensors_reader.h"
#include "proto/sotto/v1/checkpoint.pb.h"

namespace sotto::checkpoint {

// manifest.json of a checkpoint, as far as it makes sense by itself. NOT_FOUND: there is none.
// DATA_LOSS: it is damaged.
absl::StatusOr<v1::CheckpointManifest> ReadManifest(const std::string& directory);

// One complete checkpoint, which is not removed as long as this object lives. Immutable after Open;
// thread-safe.
class Checkpoint {
 public:
  // Reads the manifest and every file: sizes, SHA-256, shards of the declared sizes. NOT_FOUND: no
  // manifest. DATA_LOSS: anything differs; the message names the file.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& directory);

  const v1::CheckpointManifest& manifest() const { return manifest_; }
  const std::string& directory() const { return directory_; }

  // Fills `values` with elements [begin, begin + size) of the unit, whatever world size wrote it;
  // beyond the writers' padding: zeros. NOT_FOUND: no such unit or kind.
  absl::Status Read(const std::string& unit, const std::string& kind, int64_t begin,
                    absl::Span<float> values) const;

 private:
  Checkpoint(std::string directory, CheckpointHold hold, v1::CheckpointManifest manifest)
      : directory_(std::move(directory)), hold_(std::move(hold)), manifest_(std::move(manifest)) {}

  absl::Status OpenFiles();

  std::string directory_;
  CheckpointHold hold_;
  v1::CheckpointManifest manifest_;
  std::vector<std::unique_ptr<SafetensorsReader>> files_;  // by rank
};

struct FoundCheckpoint {
  std::unique_ptr<Checkpoint> checkpoint;
  // For the job's events: one line for each newer checkpoint that was passed over, and why.
  std::vector<std::string> notes;
};

// The checkpoint that `latest` names, or, when it is damaged, the newest one that is whole. Every
// rank that reads the same folder finds the same. NOT_FOUND: there is none at all. DATA_LOSS: there
// are some, all damaged.
absl::StatusOr<FoundCheckpoint> FindLatestCheckpoint(const std::string& root);

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_CHECKPOINT_READER_H_
