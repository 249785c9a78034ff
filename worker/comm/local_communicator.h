// Collectives between processes of one host through a memfd that all of them map.
//
//   memfd: | header: pids, barrier, abort word | rank 0: region 0, region 1 | rank 1: region 0,
//   region 1 | ...
//
// A collective is cut into pieces of at most one region. For a piece, a rank (1) writes its own
// region, (2) waits at a barrier, (3) reads the others' regions. Pieces use the two regions in
// turn, so that a rank may write the next piece while others still read this one: whoever passes
// the next barrier has finished reading.
//
// How ranks wait for each other, and learn that one has gone, is LocalGroup's.
#ifndef SOTTO_WORKER_COMM_LOCAL_COMMUNICATOR_H_
#define SOTTO_WORKER_COMM_LOCAL_COMMUNICATOR_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/comm/communicator.h"
#include "worker/comm/local_group.h"

namespace sotto::comm {

class LocalCommunicator : public Communicator {
 public:
  struct Options {
    int rank = 0;
    int world_size = 1;
    int memfd = -1;               // borrowed during Create; all zero when the first rank attaches
    int64_t region_elements = 0;  // fp32 values; a positive multiple of 32 * world_size
    absl::Duration attach_timeout = absl::Minutes(2);
  };

  // At most this many ranks on one host.
  static constexpr int kMaxWorldSize = LocalGroup::kMaxWorldSize;

  // Size of the memfd.
  static int64_t MemfdBytes(int world_size, int64_t region_elements);

  // The largest region for which a memfd of this size suffices; 0 when none does.
  static int64_t RegionElements(int world_size, int64_t memfd_bytes);

  // Maps the memfd and waits until every rank has done so. INVALID_ARGUMENT: options that make no
  // sense or do not fit the memfd. UNAVAILABLE: a rank did not attach in time or has ended.
  static absl::StatusOr<std::unique_ptr<LocalCommunicator>> Create(const Options& options);

  // Leaves the group: peers that still wait for this rank fail with UNAVAILABLE.
  ~LocalCommunicator() override;

  LocalCommunicator(const LocalCommunicator&) = delete;
  LocalCommunicator& operator=(const LocalCommunicator&) = delete;

  int rank() const override { return rank_; }
  int world_size() const override { return world_size_; }
  using Communicator::AllGather;
  using Communicator::AllReduceSum;
  using Communicator::ReduceScatterAdd;
  absl::Status AllGather(const RankGroup& group, absl::Span<const float> shard,
                         absl::Span<float> whole) override;
  absl::Status ReduceScatterAdd(const RankGroup& group, absl::Span<const float> whole,
                                absl::Span<float> accumulator) override;
  absl::Status AllReduceSum(const RankGroup& group, absl::Span<float> values) override;
  absl::Status AllReduceSum(const RankGroup& group, absl::Span<double> values) override;
  absl::Status Barrier() override;
  void Abort() override;

 private:
  LocalCommunicator(const Options& options, void* mapping, size_t mapping_bytes);

  absl::Status CheckGroup(const RankGroup& group, const char* call) const;
  absl::Status SumPiece(const RankGroup& group, absl::Span<float> values);

  // The current piece's region of a rank; the same index on every rank.
  float* Region(int rank) const;
  void NextPiece() { region_ ^= 1; }

  const int rank_;
  const int world_size_;
  const int64_t region_elements_;
  void* const mapping_;
  const size_t mapping_bytes_;
  std::unique_ptr<LocalGroup> group_;
  int region_ = 0;
};

}  // namespace sotto::comm

#endif  // SOTTO_WORKER_COMM_LOCAL_COMMUNICATOR_H_
