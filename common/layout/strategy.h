// How a model lies on the ranks. This table is the only place that knows a strategy's name.
#ifndef SOTTO_COMMON_LAYOUT_STRATEGY_H_
#define SOTTO_COMMON_LAYOUT_STRATEGY_H_

#include <array>
#include <optional>

#include "absl/strings/string_view.h"

namespace sotto::layout {

enum class Strategy {
  // ZeRO-3: parameters, gradients and optimizer state in shards; units gathered for each pass.
  kFullShard,
  // ZeRO-2: every unit gathered once per step; whole gradients accumulate and are reduced once.
  kShardGradOp,
  // FULL_SHARD inside groups of ranks; the groups are replicas of each other.
  kHybridShard,
  // Whole parameters and optimizer state on every rank; gradients summed once per step.
  kNoShard,
};

struct NamedStrategy {
  absl::string_view name;
  Strategy strategy;
};

inline constexpr std::array<NamedStrategy, 4> kStrategies = {{
    {"FULL_SHARD", Strategy::kFullShard},
    {"SHARD_GRAD_OP", Strategy::kShardGradOp},
    {"HYBRID_SHARD", Strategy::kHybridShard},
    {"NO_SHARD", Strategy::kNoShard},
}};

inline std::optional<Strategy> FindStrategy(absl::string_view name) {
  for (const NamedStrategy& entry : kStrategies) {
    if (entry.name == name) return entry.strategy;
  }
  return std::nullopt;
}

inline constexpr absl::string_view StrategyName(Strategy strategy) {
  for (const NamedStrategy& entry : kStrategies) {
    if (entry.strategy == strategy) return entry.name;
  }
  return "";
}

// The ranks as replicas of one sharded model: rank = replica * shards + shard. FlatLayout's
// world_size is `shards`.
struct RankGrid {
  int shards = 1;    // ranks that hold one copy of the model together
  int replicas = 1;  // copies; each adds the same keyed noise

  int world_size() const { return shards * replicas; }
  int ShardOf(int rank) const { return rank % shards; }
  int ReplicaOf(int rank) const { return rank / shards; }

  friend bool operator==(const RankGrid&, const RankGrid&) = default;
};

// `shard_group_size` is HYBRID_SHARD's and ignored by the others. Nothing when it does not divide
// world_size, or when world_size < 1.
inline std::optional<RankGrid> MakeRankGrid(Strategy strategy, int world_size,
                                            int shard_group_size = 0) {
  if (world_size < 1) return std::nullopt;
  switch (strategy) {
    case Strategy::kFullShard:
    case Strategy::kShardGradOp:
      return RankGrid{.shards = world_size, .replicas = 1};
    case Strategy::kNoShard:
      return RankGrid{.shards = 1, .replicas = world_size};
    case Strategy::kHybridShard:
      if (shard_group_size < 1 || world_size % shard_group_size != 0) return std::nullopt;
      return RankGrid{.shards = shard_group_size, .replicas = world_size / shard_group_size};
  }
  return std::nullopt;
}

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_STRATEGY_H_
