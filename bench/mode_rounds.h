// One shape measured: every contender's process alive at once, one step each in turn.
#ifndef SOTTO_BENCH_MODE_ROUNDS_H_
#define SOTTO_BENCH_MODE_ROUNDS_H_

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "bench/measured_process.h"
#include "bench/mode_plan.h"
#include "common/base/clock.h"
#include "common/layout/device_profile.h"

namespace sotto::bench {

struct RoundsRequest {
  ModeShape shape;
  std::vector<std::string> modes;  // names of the mode table, or auto
  std::vector<std::string> peers;  // systems of bench/peers/train_peer.py
  int rounds = 5;
  absl::Time deadline = absl::InfiniteFuture();  // of the last round's beginning
  std::string folder;                            // for records and plans
};

// What one contender's steps took. Round i of `rounds` is the round that steps[i] belongs to.
struct Measured {
  std::string name;
  bool is_peer = false;
  std::vector<StepTimes> steps;
  std::vector<int> rounds;
  int64_t peak_bytes = 0;            // resident
  int64_t planned_bytes = 0;         // that the plan says it is below; 0: a peer
  int64_t tensor_peak_bytes = 0;     // 0: a peer
  int64_t planned_tensor_bytes = 0;  // 0: a peer
  std::string choice;                // of auto: how many layers have which mode
};

struct MeasuredShape {
  ModeShape shape;
  int64_t parameters = 0;
  double clip_norm = 0;
  int rounds = 0;  // that were finished
  int rounds_asked = 0;
  std::vector<Measured> contenders;
};

// Where the peers' interpreter and program are; empty: no peers.
struct PeerPrograms {
  std::string python;
  std::string script;
};

// Rates of this machine, from a process of their own.
absl::StatusOr<layout::DeviceProfile> MeasureProfile(int threads);

// Every contender runs one step in every round. The first step of each process only warms up and is
// not counted. At least three rounds are run whatever the deadline. `progress` is told how long a
// round takes.
absl::StatusOr<MeasuredShape> MeasureRounds(const RoundsRequest& request,
                                            const layout::DeviceProfile& profile,
                                            const PeerPrograms& peers, Clock& clock,
                                            std::ostream& progress);

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_MODE_ROUNDS_H_
