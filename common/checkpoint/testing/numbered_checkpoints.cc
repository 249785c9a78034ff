#include "common/checkpoint/testing/numbered_checkpoints.h"

#include <algorithm>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint_reader.h"

namespace sotto::checkpoint {
namespace {

constexpr int kRanks = 2;
constexpr int64_t kPadded = 2048;  // elements: a rank's file does not fit one page

float ValueOf(const CheckpointName& name, int64_t element) {
  return static_cast<float>(1000 * name.step + 10 * name.attempt + element % 7);
}

absl::Status WriteRank(const std::string& root, const CheckpointName& name, int rank,
                       FileOperations& files) {
  const int64_t shard = kPadded / kRanks;
  std::vector<float> values(shard);
  for (int64_t i = 0; i < shard; ++i) values[i] = ValueOf(name, rank * shard + i);
  return WriteShardFile(
      root, name, rank, kRanks, {{"root", "master", values}, {"root", "m", values}}, [] {}, files);
}

absl::Status Commit(const std::string& root, const CheckpointName& name, const Retention& retention,
                    FileOperations& files) {
  v1::CheckpointManifest manifest;
  manifest.set_job("job-1");
  manifest.set_step(name.step);
  manifest.set_attempt(name.attempt);
  manifest.set_world_size(kRanks);
  v1::CheckpointUnit& unit = *manifest.add_units();
  unit.set_name("root");
  unit.set_padded_elements(kPadded);
  RETURN_IF_ERROR(CommitCheckpoint(root, std::move(manifest), files).status());
  return RemoveOldCheckpoints(root, name, retention, files);
}

}  // namespace

absl::Status SaveNumbered(const std::string& root, const CheckpointName& name,
                          const Retention& retention, FileOperations& files) {
  absl::Status other;
  std::thread thread([&] { other = WriteRank(root, name, 1, files); });
  const absl::Status mine = WriteRank(root, name, 0, files);
  thread.join();
  RETURN_IF_ERROR(mine);
  RETURN_IF_ERROR(other);
  return Commit(root, name, retention, files);
}

absl::Status SaveNumberedInOrder(const std::string& root, const CheckpointName& name,
                                 const Retention& retention, FileOperations& files) {
  for (int rank = 0; rank < kRanks; ++rank) {
    RETURN_IF_ERROR(WriteRank(root, name, rank, files));
  }
  return Commit(root, name, retention, files);
}

absl::StatusOr<CheckpointName> LoadNumbered(const std::string& root) {
  ASSIGN_OR_RETURN(const FoundCheckpoint found, FindLatestCheckpoint(root));
  const CheckpointName name{found.checkpoint->manifest().step(),
                            found.checkpoint->manifest().attempt()};
  for (const char* kind : {"master", "m"}) {
    std::vector<float> values(kPadded);
    RETURN_IF_ERROR(found.checkpoint->Read("root", kind, 0, absl::MakeSpan(values)));
    for (int64_t i = 0; i < kPadded; ++i) {
      if (values[i] == ValueOf(name, i)) continue;
      return absl::DataLossError(
          absl::StrCat(DirectoryName(name), " holds ", values[i], " at element ", i));
    }
  }
  return name;
}

}  // namespace sotto::checkpoint
