// A world of one rank: no memfd, no threads, no copies but the ones asked for.
#ifndef SOTTO_WORKER_COMM_SOLO_COMMUNICATOR_H_
#define SOTTO_WORKER_COMM_SOLO_COMMUNICATOR_H_

#include <atomic>

#include "worker/comm/communicator.h"

namespace sotto::comm {

class SoloCommunicator : public Communicator {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }
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
  void Abort() override { aborted_ = true; }

 private:
  std::atomic<bool> aborted_{false};
};

}  // namespace sotto::comm

#endif  // SOTTO_WORKER_COMM_SOLO_COMMUNICATOR_H_
