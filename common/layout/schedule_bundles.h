// What shares a slot: the units of one block, or the one unit of several blocks.
#ifndef SOTTO_COMMON_LAYOUT_SCHEDULE_BUNDLES_H_
#define SOTTO_COMMON_LAYOUT_SCHEDULE_BUNDLES_H_

#include <vector>

#include "absl/status/status.h"
#include "common/layout/execution_schedule.h"

namespace sotto::layout {

inline constexpr int kRootBundle = 0;

struct Bundle {
  std::vector<int> units;
  std::vector<int> trainable_units;
  bool kept_gathered = false;
  int own_slot = -1;  // of one that does not share its slot
};

// The bundles of a schedule, the root's first, then in the order of blocks.
class Bundles {
 public:
  // `options` has passed Check().
  explicit Bundles(const ScheduleOptions& options);

  // INVALID_ARGUMENT: block_units, kept_gathered or trainable_units are not what their comments
  // say.
  static absl::Status Check(const ScheduleOptions& options);

  int size() const { return static_cast<int>(bundles_.size()); }
  const Bundle& operator[](int bundle) const { return bundles_[bundle]; }
  int OfBlock(int block) const { return of_block_[block]; }

  // Those that share gathered slots.
  int num_sharing() const { return num_sharing_; }
  int num_trainable_units() const;

 private:
  void AddBlock(const ScheduleOptions& options, int block);
  void FindTrainableUnits(const ScheduleOptions& options);

  std::vector<Bundle> bundles_;
  std::vector<int> of_block_;
  int num_sharing_ = 0;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_SCHEDULE_BUNDLES_H_
