#include "bench/collectives.h"

#include <array>
#include <cstring>
#include <iostream>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/base/clock.h"
#include "common/base/status_macros.h"

namespace sotto::bench {
namespace {

constexpr int kOperations = 3;

// Until the last rank is done.
absl::StatusOr<double> Seconds(comm::Communicator& communicator,
                               absl::FunctionRef<absl::Status()> run) {
  RETURN_IF_ERROR(communicator.Barrier());
  const absl::Time begin = RealClock::Get().Now();
  RETURN_IF_ERROR(run());
  RETURN_IF_ERROR(communicator.Barrier());
  return absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
}

}  // namespace

absl::Status TimeCollectives(comm::Communicator& communicator, int64_t elements, int rounds) {
  const int64_t shard_elements = elements / communicator.world_size();
  std::vector<float> whole(shard_elements * communicator.world_size(), 1.0f);
  std::vector<float> other(whole.size());
  std::vector<float> shard(shard_elements, 1.0f);
  std::vector<float> sum(shard_elements, 0.0f);
  const auto run = [&](int operation) -> absl::Status {
    switch (operation) {
      case 0:
        std::memcpy(other.data(), whole.data(), whole.size() * sizeof(float));
        return absl::OkStatus();
      case 1:
        return communicator.AllGather(shard, absl::MakeSpan(other));
      default:
        return communicator.ReduceScatterAdd(whole, absl::MakeSpan(sum));
    }
  };
  for (int round = 0; round <= rounds; ++round) {
    std::array<double, kOperations> seconds;
    for (int i = 0; i < kOperations; ++i) {
      const int operation = (round + i) % kOperations;
      ASSIGN_OR_RETURN(seconds[operation], Seconds(communicator, [&] { return run(operation); }));
    }
    if (round == 0 || communicator.rank() != 0) continue;
    std::cout << seconds[0] << " " << seconds[1] << " " << seconds[2] << std::endl;
  }
  const float expected = static_cast<float>(communicator.world_size() * (rounds + 1));
  if (other.back() != 1 || sum.back() != expected) return absl::InternalError("a wrong sum");
  return absl::OkStatus();
}

}  // namespace sotto::bench
