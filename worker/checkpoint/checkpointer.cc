#include "worker/checkpoint/checkpointer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "common/checkpoint/checkpoint_retention.h"
#include "common/checkpoint/checkpoint_tensors.h"
#include "common/checkpoint/checkpoint_writer.h"

namespace sotto::checkpoint {

namespace {

constexpr int64_t kPieceElements = int64_t{1} << 20;  // of one read: 4 MiB

absl::Span<float> ValuesOf(const ShardState& shard) {
  SOTTO_CHECK(shard.values.scalar_type() == at::kFloat && shard.values.is_contiguous());
  return absl::MakeSpan(shard.values.data_ptr<float>(), shard.values.numel());
}

absl::Status Refused(const Checkpoint& checkpoint, absl::string_view why) {
  return absl::FailedPreconditionError(
      absl::StrCat("checkpoint ", checkpoint.directory(), " is of ", why));
}

absl::Status CheckSameJob(const Checkpoint& checkpoint, const v1::CheckpointManifest& expected) {
  const v1::CheckpointManifest& found = checkpoint.manifest();
  if (found.optimizer() != expected.optimizer()) {
    return Refused(checkpoint, absl::StrCat("optimizer ", found.optimizer(), ", but the job's is ",
                                            expected.optimizer()));
  }
  if (found.sampler().kind() != expected.sampler().kind()) {
    return Refused(checkpoint,
                   absl::StrCat("a ", found.sampler().kind(), " sampler, but the job's is ",
                                expected.sampler().kind()));
  }
  if (found.has_sampler() && found.sampler().next_step() != found.step()) {
    return Refused(checkpoint, "two steps: its sampler and its parameters differ");
  }
  if (!CheckpointTensors(found).HasSame(CheckpointTensors(expected))) {
    return Refused(checkpoint, "another model (its tensors differ)");
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

const v1::CheckpointUnit& UnitOf(const v1::CheckpointManifest& manifest, const std::string& name) {
  const auto unit =
      std::find_if(manifest.units().begin(), manifest.units().end(),
                   [&](const v1::CheckpointUnit& candidate) { return candidate.name() == name; });
  SOTTO_CHECK(unit != manifest.units().end());
  return *unit;
}

// A whole checkpoint has every tensor's shards in their declared sizes, so that afterwards nothing
// but these can be missing.
absl::Status CheckHolds(const Checkpoint& checkpoint, const CheckpointTensors& tensors,
                        const v1::CheckpointUnit& unit, const std::string& kind) {
  for (const v1::CheckpointTensor& tensor : unit.tensors()) {
    const CheckpointTensors::Place& place = tensors.PlaceOf(tensor.name());
    const absl::Status status = checkpoint.Read(place.unit, kind, place.offset, {});
    if (absl::IsNotFound(status)) return Refused(checkpoint, status.message());
    RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

// Elements [begin, begin + values.size()) of the unit as this job lays it out; what lies between
// tensors is zero. Piece by piece: no more of the file than that is in memory beside `values`.
absl::Status ReadShard(const Checkpoint& checkpoint, const CheckpointTensors& tensors,
                       const v1::CheckpointUnit& unit, const std::string& kind, int64_t begin,
                       absl::Span<float> values) {
  const int64_t end = begin + static_cast<int64_t>(values.size());
  std::fill(values.begin(), values.end(), 0.0f);
  for (const v1::CheckpointTensor& tensor : unit.tensors()) {
    const CheckpointTensors::Place& place = tensors.PlaceOf(tensor.name());
    const int64_t last = std::min(end, tensor.offset() + place.elements);
    for (int64_t from = std::max(begin, tensor.offset()); from < last; from += kPieceElements) {
      RETURN_IF_ERROR(
          checkpoint.Read(place.unit, kind, place.offset + from - tensor.offset(),
                          values.subspan(from - begin, std::min(kPieceElements, last - from))));
    }
  }
  return absl::OkStatus();
}

// What a checkpoint of the steps before `step` says: the job's, cut off there.
v1::CheckpointManifest ManifestAt(const v1::CheckpointManifest& job, int64_t step) {
  v1::CheckpointManifest manifest = job;
  manifest.set_step(step);
  if (manifest.has_sampler()) manifest.mutable_sampler()->set_next_step(step);
  if (!manifest.has_accountant()) return manifest;
  manifest.mutable_accountant()->clear_released();
  for (v1::ReleasedSteps released : job.accountant().released()) {
    released.set_end_step(std::min(released.end_step(), step));
    if (released.first_step() < released.end_step()) {
      *manifest.mutable_accountant()->add_released() = released;
    }
  }
  return manifest;
}

}  // namespace

void Checkpointer::StartWriting(int64_t step, absl::Span<const ShardState> shards,
                                absl::Span<const NumberState> numbers) {
  SOTTO_CHECK(!is_writing_ && !is_committing_);
  saving_ = ManifestAt(options_.manifest, step);
  saving_.set_world_size(options_.world_size);
  for (const NumberState& number : numbers) {
    (*saving_.mutable_numbers())[number.name] = *number.value;
  }
  std::vector<ShardTensor> tensors;
  for (const ShardState& shard : shards) {
    tensors.push_back({shard.unit, shard.kind, ValuesOf(shard)});
  }
  {
    MutexLock lock(&mutex_);
    is_read_ = false;
  }
  is_writing_ = true;
  const CheckpointName name{step, options_.manifest.attempt()};
  task_.Start([this, name, tensors = std::move(tensors)] {
    const auto on_read = [this] {
      MutexLock lock(&mutex_);
      is_read_ = true;
    };
    absl::Status status = WriteShardFile(options_.directory, name, options_.rank,
                                         options_.world_size, tensors, on_read, *options_.files);
    on_read();  // Also after an error.
    return status;
  });
}

void Checkpointer::AwaitRead() { MutexLock lock(&mutex_, absl::Condition(&is_read_)); }

absl::Status Checkpointer::AwaitWritten() {
  if (!is_writing_) return absl::OkStatus();
  is_writing_ = false;
  return task_.Await();
}

void Checkpointer::StartCommit() {
  SOTTO_CHECK(options_.rank == 0 && options_.commits && !is_writing_ && !is_committing_);
  is_committing_ = true;
  task_.Start([this]() -> absl::Status {
    ASSIGN_OR_RETURN(committed_, CommitCheckpoint(options_.directory, saving_, *options_.files));
    resumed_from_.Release();
    const absl::Status removed =
        RemoveOldCheckpoints(options_.directory, {saving_.step(), saving_.attempt()},
                             options_.retention, *options_.files);
    if (!removed.ok()) SOTTO_LOG(WARNING) << "old checkpoints stay for now: " << removed.message();
    return absl::OkStatus();
  });
}

absl::StatusOr<std::string> Checkpointer::AwaitCommitted() {
  SOTTO_CHECK(is_committing_);
  is_committing_ = false;
  RETURN_IF_ERROR(task_.Await());
  return committed_;
}

absl::StatusOr<Checkpointer::Restored> Checkpointer::Restore(
    absl::Span<const ShardState> shards, absl::Span<const NumberState> numbers) {
  const bool is_first = options_.rank == 0 && options_.commits;
  if (is_first) {
    const absl::Status removed =
        RemoveLeftovers(options_.directory, options_.manifest.attempt(), *options_.files);
    if (!removed.ok()) SOTTO_LOG(WARNING) << "leftovers stay for now: " << removed.message();
  }
  ASSIGN_OR_RETURN(FoundCheckpoint found, FindLatestCheckpoint(options_.directory));
  const Checkpoint& checkpoint = *found.checkpoint;
  RETURN_IF_ERROR(CheckSameJob(checkpoint, options_.manifest));
  RETURN_IF_ERROR(CheckSameNumbers(checkpoint, numbers));
  const CheckpointTensors tensors(checkpoint.manifest());
  // Before the first value changes: the shards are read in place, since a second copy of them would
  // be more than the plan has room for.
  for (const ShardState& shard : shards) {
    RETURN_IF_ERROR(
        CheckHolds(checkpoint, tensors, UnitOf(options_.manifest, shard.unit), shard.kind));
  }
  for (const ShardState& shard : shards) {
    RETURN_IF_ERROR(ReadShard(checkpoint, tensors, UnitOf(options_.manifest, shard.unit),
                              shard.kind, options_.rank * shard.values.numel(), ValuesOf(shard)));
  }
  for (const NumberState& number : numbers) {
    *number.value = checkpoint.manifest().numbers().at(number.name);
  }
  if (is_first) {
    ASSIGN_OR_RETURN(resumed_from_, CheckpointHold::ToRead(checkpoint.directory()));
  }
  return Restored{checkpoint.manifest().step(), checkpoint.directory(), std::move(found.notes)};
}

}  // namespace sotto::checkpoint
