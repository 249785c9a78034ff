#include "worker/comm/solo_communicator.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto::comm {
namespace {

absl::Status CheckSizes(absl::string_view call, size_t part, size_t whole) {
  if (part == whole) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(call, ": one slice of ", part, " does not make ", whole));
}

absl::Status CheckGroup(absl::string_view call, const RankGroup& group) {
  if (group.first == 0 && group.size == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(call, ": the only group is that of rank 0"));
}

}  // namespace

absl::Status SoloCommunicator::AllGather(const RankGroup& group, absl::Span<const float> shard,
                                         absl::Span<float> whole) {
  RETURN_IF_ERROR(CheckGroup("AllGather", group));
  RETURN_IF_ERROR(CheckSizes("AllGather", shard.size(), whole.size()));
  if (shard.data() != whole.data() && !shard.empty()) {
    std::memcpy(whole.data(), shard.data(), shard.size() * sizeof(float));
  }
  return Barrier();
}

absl::Status SoloCommunicator::ReduceScatterAdd(const RankGroup& group,
                                                absl::Span<const float> whole,
                                                absl::Span<float> accumulator) {
  RETURN_IF_ERROR(CheckGroup("ReduceScatterAdd", group));
  RETURN_IF_ERROR(CheckSizes("ReduceScatterAdd", accumulator.size(), whole.size()));
  for (size_t i = 0; i < whole.size(); ++i) accumulator[i] += whole[i];
  return Barrier();
}

absl::Status SoloCommunicator::AllReduceSum(const RankGroup& group, absl::Span<float>) {
  RETURN_IF_ERROR(CheckGroup("AllReduceSum", group));
  return Barrier();
}

absl::Status SoloCommunicator::AllReduceSum(const RankGroup& group, absl::Span<double>) {
  RETURN_IF_ERROR(CheckGroup("AllReduceSum", group));
  return Barrier();
}

absl::Status SoloCommunicator::Barrier() {
  if (aborted_) return absl::AbortedError("rank 0 aborted the group");
  return absl::OkStatus();
}

}  // namespace sotto::comm
