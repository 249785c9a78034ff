// From the tensors of a Hugging Face directory to the slices of flat buffers that a rank owns.
#ifndef SOTTO_WORKER_CHECKPOINT_HUGGING_FACE_SLICES_H_
#define SOTTO_WORKER_CHECKPOINT_HUGGING_FACE_SLICES_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/checkpoint/hugging_face_weights.h"
#include "common/layout/flat_layout.h"
#include "common/layout/model_description.h"

namespace sotto::checkpoint {

// Fills `values` with elements [begin, begin + values.size()) of the unit's flat buffer: what the
// files have from there, what they lack (LoRA's matrices) with initial values of `init_seed`;
// padding is left as it is. Reads no other part of the files. Errors: HuggingFaceWeights::Read's.
absl::Status ReadSlice(const HuggingFaceWeights& weights, const layout::ModelDescription& model,
                       const layout::FlatLayout& layout, uint64_t init_seed, int unit,
                       int64_t begin, absl::Span<float> values);

}  // namespace sotto::checkpoint

#endif  // SOTTO_WORKER_CHECKPOINT_HUGGING_FACE_SLICES_H_
