// Gradient modes are data: what is computed, when, and what is kept between passes. This table is
// the only place that knows a mode's name.
#ifndef SOTTO_COMMON_LAYOUT_GRADIENT_MODE_H_
#define SOTTO_COMMON_LAYOUT_GRADIENT_MODE_H_

#include <array>
#include <optional>

#include "absl/strings/string_view.h"

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

struct NamedMode {
  absl::string_view name;
  UnitMode mode;
};

inline constexpr std::array<NamedMode, 3> kGradientModes = {{
    {"no_dp", {Norm::kNone, When::kNever, Kept::kNothing}},
    {"flash", {Norm::kTiled, When::kAfterLayer, Kept::kActivations}},
    {"per_example", {Norm::kFromGradient, When::kInLayer, Kept::kExampleGrads}},
}};

// The mode of this name; nothing for a name that is not in the table.
inline std::optional<UnitMode> FindMode(absl::string_view name) {
  for (const NamedMode& entry : kGradientModes) {
    if (entry.name == name) return entry.mode;
  }
  return std::nullopt;
}

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_GRADIENT_MODE_H_
