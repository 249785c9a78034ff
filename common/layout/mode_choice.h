// The mode `auto`: which gradient mode each layer gets, and in what micro-batches. A pure function
// of shapes, rates and a memory limit: the same arguments give the same plan on every machine.
#ifndef SOTTO_COMMON_LAYOUT_MODE_CHOICE_H_
#define SOTTO_COMMON_LAYOUT_MODE_CHOICE_H_

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "common/layout/device_profile.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/model_description.h"

namespace sotto::layout {

struct ModeChoice {
  // The job's mode: what the schedule is built for. With `layer_modes` some layers keep output
  // gradients and the others example gradients.
  UnitMode mode;
  LayerModes layer_modes;  // empty: every layer has `mode`
  int64_t micro_batch_size = 1;

  // Seconds of one micro-batch beyond what the same micro-batch costs without clipping, by unit and
  // layer. Frozen layers cost nothing; where the weight alone is frozen, its bias is what costs.
  std::vector<std::vector<double>> layer_seconds;
  double extra_seconds = 0;   // their sum, and a second backward pass where the mode has one
  double matrix_seconds = 0;  // matrix products of a micro-batch without clipping
  int64_t memory_bytes = 0;   // of the rank, as bytes_of said
};

struct ModeChoiceOptions {
  int64_t length = 1;                    // tokens of an example, padded
  int64_t largest_micro_batch_size = 1;  // examples
  bool fixed_micro_batch_size = false;   // no smaller one is considered
  int64_t memory_limit_bytes = 0;        // of one rank; 0: none
};

// Bytes of a rank under this choice (its times are not set yet).
using BytesOf = absl::FunctionRef<int64_t(const ModeChoice&)>;

// The choice with the least predicted time per example that fits the memory limit. Layers without
// a fast norm rule hold their own gradients. Candidates: every layer's cheaper form of book-keeping
// (TILED, OUTPUT_GRADS) and held gradients (EXAMPLE_GRADS); where that is too large, the same with
// layers moved to their other form until it fits, those first that save the most bytes for each
// second lost; one form for all layers; two passes (TILED, ACTIVATIONS). Each in micro-batches of
// 1, 2, 4, ... examples and the largest. Norms are never IN_LAYER (flash_fuse): the products are
// the library's, so that fusing shares no load on a CPU and costs what AFTER_LAYER does; which of
// the two was faster changed from one study to the next with the process, not with the mode
// (docs/performance.md, "auto"). INVALID_ARGUMENT: sizes below 1, an incomplete profile.
// RESOURCE_EXHAUSTED: not even one example fits.
absl::StatusOr<ModeChoice> ChooseMode(const ModelDescription& model,
                                      const ModeChoiceOptions& options,
                                      const DeviceProfile& profile, BytesOf bytes_of);

// The predicted times of a given mode (`layer_modes` as in ModeChoice) and micro-batch size;
// memory_bytes stays 0.
absl::StatusOr<ModeChoice> PredictMode(const ModelDescription& model, const UnitMode& mode,
                                       const LayerModes& layer_modes, int64_t length,
                                       int64_t micro_batch_size, const DeviceProfile& profile);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_MODE_CHOICE_H_
