#include "worker/checkpoint/checkpointer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "common/checkpoint/checkpoint_retention.h"
#include "common/checkpoint/checkpoint_writer.h"

namespace sotto::checkpoint {

namespace {

absl::Span<float> ValuesOf(const ShardState& shard) {
  SOTTO_CHECK(shard.values.scalar_type() == at::kFloat && shard.values.is_contiguous());
  return absl::MakeSpan(shard.values.data_ptr<float>(), shard.values.numel());
}

// Tensors with their shapes and offsets, of all units: the same for the same model, at every world
// size.
std::string LayoutOf(const v1::CheckpointManifest& manifest) {
  std::string layout;
  for (const v1::CheckpointUnit& unit : manifest.units()) {
    absl::StrAppend(&layout, unit.name(), ":");
    for (const v1::CheckpointTensor& tensor : unit.tensors()) {
      absl::StrAppend(&layout, " ", tensor.ShortDebugString(), ";");
    }
  }
  return layout;
}

absl::Status CheckSameJob(const Checkpoint& checkpoint, const v1::CheckpointManifest& expected) {
  const v1::CheckpointManifest& found = checkpoint.manifest();
  if (found.optimizer() != expected.optimizer()) {
    return absl::FailedPreconditionError(absl::StrCat("checkpoint ", checkpoint.directory(),
                                                      " is of optimizer ", found.optimizer(),
                                                      ", but the job's is ", expected.optimizer()));
  }
  if (LayoutOf(found) != LayoutOf(expected)) {
    return absl::FailedPreconditionError(absl::StrCat("checkpoint ", checkpoint.directory(),
                                                      " is of another model (its tensors differ)"));
  }
  return absl::OkStatus();
}

// A number too many would be forgotten, one too few made up.
absl::Status CheckSameNumbers(const Checkpoint& checkpoint, absl::Span<const NumberState> numbers) {
  std::vector<std::string> expected;
  for (const NumberState& number : numbers) expected.push_back(number.name);
  std::vector<std::string> found;
  for (const auto& [name, value] : checkpoint.manifest().numbers()) found.push_back(name);
  std::sort(expected.begin(), expected.end());
  std::sort(found.begin(), found.end());
  if (found == expected) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("checkpoint ", checkpoint.directory(),
                   " is of a job with other rules: it holds [", absl::StrJoin(found, ", "),
                   "], but the job goes on with [", absl::StrJoin(expected, ", "), "]"));
}

}  // namespace

absl::Status Checkpointer::WriteShard(int64_t step, absl::Span<const ShardState> shards) {
  std::vector<ShardTensor> tensors;
  for (const ShardState& shard : shards) {
    tensors.push_back({shard.unit, shard.kind, ValuesOf(shard)});
  }
  return WriteShardFile(options_.directory, {step, options_.manifest.attempt()}, options_.rank,
                        options_.world_size, tensors);
}

absl::StatusOr<std::string> Checkpointer::Commit(int64_t step,
                                                 absl::Span<const NumberState> numbers) {
  SOTTO_CHECK(options_.rank == 0);
  v1::CheckpointManifest manifest = options_.manifest;
  manifest.set_format_version(1);
  manifest.set_step(step);
  manifest.set_world_size(options_.world_size);
  for (const NumberState& number : numbers) {
    (*manifest.mutable_numbers())[number.name] = *number.value;
  }
  const CheckpointName name{step, manifest.attempt()};
  ASSIGN_OR_RETURN(const std::string directory,
                   CommitCheckpoint(options_.directory, std::move(manifest)));
  RETURN_IF_ERROR(RemoveOldCheckpoints(options_.directory, name, {.keep = options_.keep}));
  return directory;
}

absl::StatusOr<Checkpointer::Restored> Checkpointer::Restore(
    absl::Span<const ShardState> shards, absl::Span<const NumberState> numbers) const {
  ASSIGN_OR_RETURN(FoundCheckpoint found, FindLatestCheckpoint(options_.directory));
  const Checkpoint& checkpoint = *found.checkpoint;
  RETURN_IF_ERROR(CheckSameJob(checkpoint, options_.manifest));
  RETURN_IF_ERROR(CheckSameNumbers(checkpoint, numbers));
  std::vector<std::vector<float>> read;
  for (const ShardState& shard : shards) {
    std::vector<float>& values = read.emplace_back(shard.values.numel());
    const int64_t begin = options_.rank * shard.values.numel();
    RETURN_IF_ERROR(checkpoint.Read(shard.unit, shard.kind, begin, absl::MakeSpan(values)));
  }
  // Only when everything was read.
  for (size_t i = 0; i < shards.size(); ++i) {
    std::copy(read[i].begin(), read[i].end(), ValuesOf(shards[i]).begin());
  }
  for (const NumberState& number : numbers) {
    *number.value = checkpoint.manifest().numbers().at(number.name);
  }
  return Restored{checkpoint.manifest().step(), checkpoint.directory(), std::move(found.notes)};
}

}  // namespace sotto::checkpoint
