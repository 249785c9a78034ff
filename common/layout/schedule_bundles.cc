#include "common/layout/schedule_bundles.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/layout/schedule_phases.h"

namespace sotto::layout {
namespace {

int NumBlocks(const ScheduleOptions& options) {
  return static_cast<int>(options.stages.size()) - 1;
}

std::vector<int> UnitsOf(const ScheduleOptions& options, int block) {
  return options.block_units.empty() ? std::vector<int>{block} : options.block_units[block];
}

// Each block's units follow those of the block before, or are the same single one.
absl::Status CheckBlockUnits(const std::vector<std::vector<int>>& block_units) {
  int next = 0;
  for (size_t block = 0; block < block_units.size(); ++block) {
    const std::vector<int>& units = block_units[block];
    const bool same = block > 1 && units.size() == 1 && units == block_units[block - 1];
    if (same) continue;
    for (int unit : units) {
      if (unit == next++) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("block ", block, " must go on with unit ", next - 1, ", but names ", unit));
    }
    if (units.empty() || (block == 0 && units.size() != 1)) {
      return absl::InvalidArgumentError(
          "the root must have one unit, and every block at least one");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Bundles::Check(const ScheduleOptions& options) {
  const int blocks = NumBlocks(options);
  if (!options.block_units.empty() && static_cast<int>(options.block_units.size()) != blocks) {
    return absl::InvalidArgumentError("block_units must name every block");
  }
  if (absl::Status status = CheckBlockUnits(options.block_units); !status.ok()) return status;
  const size_t units = UnitsOf(options, blocks - 1).back() + 1;
  for (const std::vector<bool>* by_unit : {&options.kept_gathered, &options.trainable_units}) {
    if (by_unit->empty() || by_unit->size() == units) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("kept_gathered and trainable_units must name every one of ", units, " units"));
  }
  if (options.kept_gathered.empty()) return absl::OkStatus();
  if (HasSlotPerUnit(options.strategy)) {
    return absl::InvalidArgumentError("units are kept gathered, but every unit has its own slot");
  }
  for (int block = 1; block < blocks; ++block) {
    const std::vector<int> own = UnitsOf(options, block);
    const auto kept = std::count_if(own.begin(), own.end(),
                                    [&](int unit) { return options.kept_gathered[unit]; });
    if (kept == 0 || kept == static_cast<int64_t>(own.size())) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("block ", block, " must be kept gathered with all of its units"));
  }
  return absl::OkStatus();
}

Bundles::Bundles(const ScheduleOptions& options) {
  for (int block = 0; block < NumBlocks(options); ++block) AddBlock(options, block);
  FindTrainableUnits(options);
  int next_own = options.gathered_slots + 1;
  for (int i = 0; i < size(); ++i) {
    Bundle& bundle = bundles_[i];
    if (i == kRootBundle || HasSlotPerUnit(options.strategy)) {
      bundle.own_slot = i;
    } else if (bundle.kept_gathered) {
      bundle.own_slot = next_own++;
    } else {
      ++num_sharing_;
    }
  }
}

void Bundles::AddBlock(const ScheduleOptions& options, int block) {
  std::vector<int> units = UnitsOf(options, block);
  if (bundles_.empty() || bundles_.back().units != units) {
    const bool kept = !options.kept_gathered.empty() && options.kept_gathered[units.front()];
    bundles_.push_back({.units = std::move(units), .kept_gathered = kept});
  }
  of_block_.push_back(size() - 1);
}

void Bundles::FindTrainableUnits(const ScheduleOptions& options) {
  std::vector<bool> trainable(bundles_.size(), false);
  for (size_t stage = 0; stage < options.stages.size(); ++stage) {
    if (IsTrainable(options, static_cast<int>(stage))) {
      trainable[of_block_[options.stages[stage]]] = true;
    }
  }
  for (int i = 0; i < size(); ++i) {
    for (int unit : bundles_[i].units) {
      const bool has = options.trainable_units.empty() || options.trainable_units[unit];
      if (trainable[i] && has) bundles_[i].trainable_units.push_back(unit);
    }
  }
}

int Bundles::num_trainable_units() const {
  int count = 0;
  for (const Bundle& bundle : bundles_) count += static_cast<int>(bundle.trainable_units.size());
  return count;
}

}  // namespace sotto::layout
