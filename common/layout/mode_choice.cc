#include "common/layout/mode_choice.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/layout/layer_rules.h"

namespace sotto::layout {
namespace {

constexpr double kFloatBytes = 4;
constexpr UnitMode kTwoPasses = {Norm::kTiled, When::kAfterLayer, Kept::kActivations};
constexpr UnitMode kBookKeeping = {Norm::kTiled, When::kAfterLayer, Kept::kOutputGrads};
constexpr UnitMode kHeldGradients = {Norm::kFromGradient, When::kInLayer, Kept::kExampleGrads};

// A backward pass over its matrix products alone: attention, activations and norms add half
// (docs/performance.md, "Where the time goes").
constexpr double kBackwardOverProducts = 1.5;

// A micro-batch gathers and reduces every parameter however few examples it has: values read and
// written, in multiples of the parameters.
constexpr double kPassesOverParameters = 6;

bool AnyTrainable(const UnitDescription& unit, const LayerDescription& layer) {
  return std::any_of(layer.parameters.begin(), layer.parameters.end(),
                     [&unit](int parameter) { return unit.parameters[parameter].trainable; });
}

// A layer's first parameter is its weight.
bool TrainsWeight(const UnitDescription& unit, const LayerDescription& layer) {
  return !layer.parameters.empty() && unit.parameters[layer.parameters.front()].trainable;
}

// One layer in one micro-batch.
class LayerCost {
 public:
  LayerCost(const UnitDescription& unit, const LayerDescription& layer, int64_t length,
            int64_t examples, const DeviceProfile& profile)
      : layer_(layer),
        profile_(profile),
        is_trainable_(AnyTrainable(unit, layer)),
        trains_weight_(TrainsWeight(unit, layer)),
        rows_(layer.Rows(length)),
        examples_(static_cast<double>(examples)),
        inputs_(static_cast<double>(layer.inputs)),
        outputs_(static_cast<double>(layer.outputs)) {}

  // Forward product; the weight gradient and the input gradient take as long.
  double Product() const { return IsMatrix() ? Flops() / profile_.product_flops : 0; }

  // All products without clipping. A frozen matrix has no weight gradient.
  double Products() const { return (trains_weight_ ? 3 : 2) * Product(); }

  // What the mode adds to the gradients without clipping. Of a frozen matrix the bias alone is
  // left: in every mode column sums of the output gradients.
  double Extra(const UnitMode& mode) const {
    if (mode.norm == Norm::kNone || !is_trainable_) return 0;
    if (!IsMatrix() || !trains_weight_) {
      return kFloatBytes * examples_ * rows_ * outputs_ / profile_.scale_bytes;
    }
    // Rates that were measured while others computed may say that small products are the faster.
    if (mode.kept == Kept::kExampleGrads) {
      return std::max(0.0, OwnGradient() - Product()) + Fold();
    }
    const double norm = NormSeconds(mode.norm) + CrossTerm();
    const double factor = rows_ * examples_ * std::min(inputs_, outputs_);
    const double scaling = 2 * kFloatBytes * factor / profile_.scale_bytes;
    // Book-keeping never holds [B, T, V]: the head's logits are formed again.
    const bool forms_logits_again = mode.kept == Kept::kOutputGrads && layer_.in_last_stage;
    return norm + scaling + (forms_logits_again ? Product() : 0);
  }

  // Whether both one-pass forms are there and differ in what they keep.
  bool HasTwoForms() const { return IsMatrix() && trains_weight_ && HasNormRule(layer_.kind); }

  // What a one-pass form keeps of a micro-batch: an estimate that compares layers. What a rank
  // needs is for bytes_of to say.
  double KeptBytes(const UnitMode& mode) const {
    if (mode.kept == Kept::kExampleGrads) return GradientBytes();
    const double width = std::min(inputs_, outputs_);
    const double per_row = layer_.kind == LayerKind::kTiedEmbedding ? 2 * width
                           : layer_.in_last_stage                   ? inputs_
                                                                    : inputs_ + outputs_;
    return kFloatBytes * examples_ * rows_ * per_row;
  }

 private:
  bool IsMatrix() const {
    return layer_.kind == LayerKind::kLinear || layer_.kind == LayerKind::kConv2d ||
           layer_.kind == LayerKind::kTiedEmbedding;
  }

  double Flops() const { return 2 * examples_ * rows_ * inputs_ * outputs_; }
  double GradientBytes() const { return kFloatBytes * examples_ * inputs_ * outputs_; }
  double Fold() const { return GradientBytes() / profile_.fold_bytes; }

  // Each example's gradient by itself, with its norm.
  double OwnGradient() const {
    return Flops() / profile_.ProductFlops(static_cast<int64_t>(std::max(1.0, rows_))) +
           GradientBytes() / profile_.hold_bytes;
  }

  double NormSeconds(Norm norm) const {
    if (norm == Norm::kFromGradient || !HasNormRule(layer_.kind)) return OwnGradient();
    const double whole = 2 * examples_ * rows_ * rows_ * (inputs_ + outputs_);
    if (norm == Norm::kGram) return whole / profile_.product_flops;
    return std::min(0.5 * whole / profile_.gram_flops, OwnGradient());
  }

  double CrossTerm() const {
    if (layer_.kind != LayerKind::kTiedEmbedding) return 0;
    return 2 * examples_ * rows_ * rows_ * std::min(inputs_, outputs_) / profile_.product_flops;
  }

  const LayerDescription& layer_;
  const DeviceProfile& profile_;
  const bool is_trainable_;
  const bool trains_weight_;
  const double rows_;
  const double examples_;
  const double inputs_;
  const double outputs_;
};

// Sets every time of `choice` from its modes.
void Predict(const ModelDescription& model, int64_t length, const DeviceProfile& profile,
             ModeChoice& choice) {
  choice.layer_seconds.assign(model.units.size(), {});
  choice.extra_seconds = choice.matrix_seconds = 0;
  for (size_t unit = 0; unit < model.units.size(); ++unit) {
    const UnitDescription& description = model.units[unit];
    for (size_t i = 0; i < description.layers.size(); ++i) {
      const LayerDescription& layer = description.layers[i];
      const UnitMode& mode = choice.layer_modes.empty() ? choice.mode : choice.layer_modes[unit][i];
      const LayerCost cost(description, layer, length, choice.micro_batch_size, profile);
      const double extra = cost.Extra(mode);
      choice.layer_seconds[unit].push_back(extra);
      choice.extra_seconds += extra;
      if (mode.kept == Kept::kActivations) {
        choice.extra_seconds += kBackwardOverProducts * cost.Product();
      }
      choice.matrix_seconds += cost.Products();
    }
  }
}

// Each layer's cheaper form. One form for all is said once.
ModeChoice MixedChoice(const ModelDescription& model, int64_t length, int64_t examples,
                       const DeviceProfile& profile) {
  ModeChoice choice{.mode = kHeldGradients, .micro_batch_size = examples};
  int book_keeping = 0;
  for (const UnitDescription& unit : model.units) {
    std::vector<UnitMode>& modes = choice.layer_modes.emplace_back();
    for (const LayerDescription& layer : unit.layers) {
      const LayerCost cost(unit, layer, length, examples, profile);
      const bool is_cheaper =
          HasNormRule(layer.kind) && cost.Extra(kBookKeeping) < cost.Extra(kHeldGradients);
      modes.push_back(is_cheaper ? kBookKeeping : kHeldGradients);
      book_keeping += is_cheaper ? 1 : 0;
    }
  }
  if (book_keeping == 0) choice.layer_modes.clear();
  return choice;
}

// A layer that takes its other form.
struct Move {
  size_t unit = 0;
  size_t layer = 0;
  double bytes_per_second = 0;  // that it saves, of time that it costs
};

constexpr UnitMode OtherForm(const UnitMode& mode) {
  return mode == kHeldGradients ? kBookKeeping : kHeldGradients;
}

// Every move that saves memory, the cheapest first.
std::vector<Move> MemoryMoves(const ModelDescription& model, int64_t length,
                              const DeviceProfile& profile, const ModeChoice& from) {
  std::vector<Move> moves;
  for (size_t unit = 0; unit < model.units.size(); ++unit) {
    const UnitDescription& description = model.units[unit];
    for (size_t i = 0; i < description.layers.size(); ++i) {
      const LayerCost cost(description, description.layers[i], length, from.micro_batch_size,
                           profile);
      const UnitMode& mode = from.layer_modes[unit][i];
      const UnitMode other = OtherForm(mode);
      const double saved = cost.KeptBytes(mode) - cost.KeptBytes(other);
      if (!cost.HasTwoForms() || saved <= 0) continue;
      // At least 0: `from` has the faster form.
      const double lost = std::max(0.0, cost.Extra(other) - cost.Extra(mode));
      moves.push_back({unit, i, saved / lost});
    }
  }
  std::stable_sort(moves.begin(), moves.end(), [](const Move& a, const Move& b) {
    return a.bytes_per_second > b.bytes_per_second;
  });
  return moves;
}

// `mixed`, with the cheapest moves until it fits: as few as bisection finds, so that bytes_of is
// asked about a logarithm of the layers. All of them where even they do not make it fit.
ModeChoice LeanerChoice(const ModelDescription& model, const ModeChoiceOptions& options,
                        const DeviceProfile& profile, ModeChoice mixed, BytesOf bytes_of) {
  if (mixed.layer_modes.empty()) {
    for (const UnitDescription& unit : model.units) {
      mixed.layer_modes.emplace_back(unit.layers.size(), mixed.mode);
    }
  }
  const std::vector<Move> moves = MemoryMoves(model, options.length, profile, mixed);
  const auto after = [&](size_t count) {
    ModeChoice choice = mixed;
    for (size_t i = 0; i < count; ++i) {
      UnitMode& mode = choice.layer_modes[moves[i].unit][moves[i].layer];
      mode = OtherForm(mode);
    }
    return choice;
  };
  size_t too_few = 0;
  size_t enough = moves.size();
  while (too_few + 1 < enough) {
    const size_t middle = (too_few + enough) / 2;
    (bytes_of(after(middle)) > options.memory_limit_bytes ? too_few : enough) = middle;
  }
  return after(enough);
}

std::vector<int64_t> MicroBatchSizes(const ModeChoiceOptions& options) {
  std::vector<int64_t> sizes;
  if (!options.fixed_micro_batch_size) {
    for (int64_t size = 1; size < options.largest_micro_batch_size; size *= 2)
      sizes.push_back(size);
  }
  sizes.push_back(options.largest_micro_batch_size);
  return sizes;
}

double SecondsPerExample(const ModelDescription& model, const DeviceProfile& profile,
                         const ModeChoice& choice) {
  const double fixed = kPassesOverParameters * kFloatBytes *
                       static_cast<double>(model.num_elements()) / profile.scale_bytes;
  return (choice.matrix_seconds + choice.extra_seconds + fixed) /
         static_cast<double>(choice.micro_batch_size);
}

absl::Status Check(const ModeChoiceOptions& options, const DeviceProfile& profile) {
  if (options.length < 1 || options.largest_micro_batch_size < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("length and micro-batch size must be at least 1, but are ", options.length,
                     " and ", options.largest_micro_batch_size));
  }
  if (!profile.IsComplete()) {
    return absl::InvalidArgumentError("the device profile must have every rate");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModeChoice> ChooseMode(const ModelDescription& model,
                                      const ModeChoiceOptions& options,
                                      const DeviceProfile& profile, BytesOf bytes_of) {
  RETURN_IF_ERROR(Check(options, profile));
  std::optional<ModeChoice> best;
  int64_t least_bytes = 0;
  for (int64_t examples : MicroBatchSizes(options)) {
    const ModeChoice mixed = MixedChoice(model, options.length, examples, profile);
    std::vector<ModeChoice> candidates = {mixed,
                                          {.mode = kHeldGradients, .micro_batch_size = examples},
                                          {.mode = kBookKeeping, .micro_batch_size = examples},
                                          {.mode = kTwoPasses, .micro_batch_size = examples}};
    if (options.memory_limit_bytes > 0 && bytes_of(mixed) > options.memory_limit_bytes) {
      candidates.push_back(LeanerChoice(model, options, profile, mixed, bytes_of));
    }
    for (ModeChoice& candidate : candidates) {
      candidate.memory_bytes = bytes_of(candidate);
      least_bytes =
          least_bytes == 0 ? candidate.memory_bytes : std::min(least_bytes, candidate.memory_bytes);
      if (options.memory_limit_bytes > 0 && candidate.memory_bytes > options.memory_limit_bytes) {
        continue;
      }
      Predict(model, options.length, profile, candidate);
      if (best.has_value() && SecondsPerExample(model, profile, *best) <=
                                  SecondsPerExample(model, profile, candidate)) {
        continue;
      }
      best = std::move(candidate);
    }
  }
  if (best.has_value()) return *std::move(best);
  return absl::ResourceExhaustedError(
      absl::StrCat("no gradient mode fits the memory limit of ", options.memory_limit_bytes,
                   " bytes for each rank: the smallest needs ", least_bytes));
}

absl::StatusOr<ModeChoice> PredictMode(const ModelDescription& model, const UnitMode& mode,
                                       const LayerModes& layer_modes, int64_t length,
                                       int64_t micro_batch_size, const DeviceProfile& profile) {
  RETURN_IF_ERROR(Check({.length = length, .largest_micro_batch_size = micro_batch_size}, profile));
  ModeChoice choice{.mode = mode, .layer_modes = layer_modes, .micro_batch_size = micro_batch_size};
  Predict(model, length, profile, choice);
  return choice;
}

}  // namespace sotto::layout
