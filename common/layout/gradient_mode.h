// Gradient modes are data: what is computed, when, and what is kept between passes. This table is
// the only place that knows a mode's name.
#ifndef SOTTO_COMMON_LAYOUT_GRADIENT_MODE_H_
#define SOTTO_COMMON_LAYOUT_GRADIENT_MODE_H_

#include <array>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "common/layout/strategy.h"

namespace sotto::layout {

// How an example's squared gradient norm comes about.
enum class Norm {
  kNone,          // not at all: no clipping
  kGram,          // through the materialised T x T Gram matrices
  kTiled,         // Gram or direct form in tiles, whichever is cheaper; neither T x T nor d x p
                  // materialised
  kFromGradient,  // from the example's own gradient
};

// When it is computed.
enum class When {
  kNever,
  kInLayer,        // inside the layer's backward, sharing its loads
  kAfterLayer,     // right after the layer's backward
  kAfterBackward,  // batched by shape after the whole backward
};

// What a rank keeps from the norms to the weight gradients. The only member that selects control
// flow.
enum class Kept {
  kNothing,       // no clipping: weight gradients in the one backward pass
  kActivations,   // two backward passes
  kOutputGrads,   // book-keeping: inputs and output gradients of every layer
  kExampleGrads,  // one gradient per example of the micro-batch, folded with its coefficient
};

struct UnitMode {
  Norm norm = Norm::kNone;
  When when = When::kNever;
  Kept kept = Kept::kNothing;

  friend bool operator==(const UnitMode&, const UnitMode&) = default;
};

// A mode for each layer, by unit and by layer as in UnitDescription::layers. Empty: one mode for
// all.
using LayerModes = std::vector<std::vector<UnitMode>>;

struct NamedMode {
  absl::string_view name;
  UnitMode mode;
  // Set by the older names alone: the strategy that the name implies. Another one in the same spec
  // is a contradiction.
  std::optional<Strategy> strategy;
};

inline constexpr std::array<NamedMode, 8> kGradientModes = {{
    {"no_dp", {Norm::kNone, When::kNever, Kept::kNothing}, std::nullopt},
    {"ghost", {Norm::kGram, When::kAfterLayer, Kept::kActivations}, std::nullopt},
    {"ghost_bk", {Norm::kGram, When::kAfterLayer, Kept::kOutputGrads}, std::nullopt},
    {"flash", {Norm::kTiled, When::kAfterLayer, Kept::kActivations}, std::nullopt},
    {"flash_bk", {Norm::kTiled, When::kAfterLayer, Kept::kOutputGrads}, std::nullopt},
    {"flash_fuse", {Norm::kTiled, When::kInLayer, Kept::kActivations}, std::nullopt},
    {"flash_fuse_bk", {Norm::kTiled, When::kInLayer, Kept::kOutputGrads}, std::nullopt},
    {"per_example", {Norm::kFromGradient, When::kInLayer, Kept::kExampleGrads}, std::nullopt},
}};

// Names that other systems' users know: the same modes, with FULL_SHARD.
inline constexpr std::array<NamedMode, 6> kModeAliases = {{
    {"ghost_fsdp",
     {Norm::kGram, When::kAfterLayer, Kept::kActivations},
     std::optional<Strategy>(Strategy::kFullShard)},
    {"ghost_fsdp_bk",
     {Norm::kGram, When::kAfterLayer, Kept::kOutputGrads},
     std::optional<Strategy>(Strategy::kFullShard)},
    {"flash_fsdp",
     {Norm::kTiled, When::kAfterLayer, Kept::kActivations},
     std::optional<Strategy>(Strategy::kFullShard)},
    {"flash_fsdp_bk",
     {Norm::kTiled, When::kAfterLayer, Kept::kOutputGrads},
     std::optional<Strategy>(Strategy::kFullShard)},
    {"flash_fsdp_fuse",
     {Norm::kTiled, When::kInLayer, Kept::kActivations},
     std::optional<Strategy>(Strategy::kFullShard)},
    {"flash_fsdp_fuse_bk",
     {Norm::kTiled, When::kInLayer, Kept::kOutputGrads},
     std::optional<Strategy>(Strategy::kFullShard)},
}};

// The name that lets planning choose a mode for every layer (common/layout/mode_choice.h). It
// stands for no UnitMode of its own.
inline constexpr absl::string_view kAutomaticMode = "auto";

inline bool IsAutomatic(absl::string_view name) { return name == kAutomaticMode; }

// The entry of this name or alias; nothing for a name that is in neither table.
inline std::optional<NamedMode> FindNamedMode(absl::string_view name) {
  for (const NamedMode& entry : kGradientModes) {
    if (entry.name == name) return entry;
  }
  for (const NamedMode& entry : kModeAliases) {
    if (entry.name == name) return entry;
  }
  return std::nullopt;
}

// The mode of this name or alias.
inline std::optional<UnitMode> FindMode(absl::string_view name) {
  const std::optional<NamedMode> entry = FindNamedMode(name);
  if (!entry.has_value()) return std::nullopt;
  return entry->mode;
}

// The same mode with its norms taken after the whole backward pass. A mode without norms stays
// what it is.
constexpr UnitMode WithDeferredNorms(UnitMode mode) {
  if (mode.norm != Norm::kNone) mode.when = When::kAfterBackward;
  return mode;
}

// One backward pass, with coefficients applied to what was held. Layers of one model may mix the
// two one-pass kinds; every other kind is the whole model's.
constexpr bool IsOnePass(Kept kept) {
  return kept == Kept::kOutputGrads || kept == Kept::kExampleGrads;
}

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_GRADIENT_MODE_H_
