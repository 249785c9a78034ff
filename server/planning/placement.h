// A job's model on its ranks: units, slots, memory, schedule and the mode's choice.
#ifndef SOTTO_SERVER_PLANNING_PLACEMENT_H_
#define SOTTO_SERVER_PLANNING_PLACEMENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/layout/device_profile.h"
#include "common/layout/flat_layout.h"
#include "common/layout/memory.h"
#include "common/layout/mode_choice.h"
#include "common/layout/model_description.h"
#include "common/layout/schedule_options.h"
#include "common/layout/strategy.h"
#include "common/layout/wrapping.h"
#include "google/protobuf/repeated_field.h"
#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/planner.h"

namespace sotto::planning {

class Placement {
 public:
  // `spec` has defaults and outlives the placement. INVALID_ARGUMENT: no model can be made of it,
  // ranks that make no groups, a layer that mixes examples, nothing to train, a wrapping that the
  // model does not have.
  static absl::StatusOr<Placement> Create(const v1::JobSpec& spec, const HostFacts& host);

  layout::MemoryEstimate Memory(const layout::ModeChoice& choice) const;

  // More than a rank's share of an expected batch would be filled with dummies.
  int32_t PreferredMicroBatch() const;

  // A named mode with its predicted times; micro-batches of `wanted` examples, fewer (0: none) when
  // they do not fit and are not fixed.
  absl::StatusOr<layout::ModeChoice> NamedChoice(int32_t wanted, bool fixed, int64_t limit) const;

  // RESOURCE_EXHAUSTED: not even one example fits.
  absl::StatusOr<layout::ModeChoice> AutomaticChoice(int32_t wanted, bool fixed,
                                                     int64_t limit) const;

  // Modes and micro-batches of a plan of the same model, with the times that they take here.
  // FAILED_PRECONDITION: the plan's layers are not those of the model.
  absl::StatusOr<layout::ModeChoice> KeptChoice(const v1::JobPlan& plan) const;

  absl::StatusOr<v1::ShardingPlan> Sharding(const layout::ModeChoice& choice) const;

  // A rank's matrix products and what clipping adds, its share of the noise and of the optimizer.
  double SecondsPerStep(const layout::ModeChoice& choice) const;

  using Patterns = google::protobuf::RepeatedPtrField<std::string>;

  // Those that no unit's name matches, the root's left out.
  std::vector<std::string> UnmatchedPatterns(const Patterns& patterns) const;

  // Positions among the blocks, of train.activation_checkpointing.
  std::vector<int> CheckpointedBlocks() const;

  // Of units.
  const layout::FlatLayout& layout() const { return layout_; }
  const layout::DeviceProfile& profile() const { return profile_; }

 private:
  Placement(const v1::JobSpec& spec, const HostFacts& host, layout::RankGrid grid,
            layout::ModelDescription model, layout::WrappedModel wrapped,
            layout::FlatLayout block_layout, layout::FlatLayout layout);

  layout::Strategy strategy() const;
  int64_t longest() const { return spec_.data().lengths(spec_.data().lengths_size() - 1); }
  layout::UnitMode Deferred(layout::UnitMode mode) const;
  bool HoldsWhatIsDropped(const layout::ModeChoice& choice) const;
  bool HoldsNamedUnit(size_t block, const Patterns& patterns) const;
  std::vector<bool> KeptGathered() const;
  layout::ScheduleChoice Schedule(const layout::ModeChoice& choice) const;
  absl::StatusOr<layout::ModeChoice> WithTimes(layout::ModeChoice choice) const;
  void AddUnits(v1::ShardingPlan& plan) const;
  void AddLayers(const layout::ModeChoice& choice, v1::ShardingPlan& plan) const;
  absl::Status SetCollectives(const layout::ScheduleOptions& options, v1::ShardingPlan& plan) const;

  const v1::JobSpec& spec_;
  layout::RankGrid grid_;
  layout::ModelDescription model_;  // of blocks
  layout::WrappedModel wrapped_;
  layout::FlatLayout block_layout_;
  layout::FlatLayout layout_;
  layout::DeviceProfile profile_;
  int64_t profiling_bytes_ = 0;  // of a rank that measures its device before it trains
};

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_PLACEMENT_H_
