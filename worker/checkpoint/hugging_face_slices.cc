#include "worker/checkpoint/hugging_face_slices.h"

#include <algorithm>

#include "common/base/status_macros.h"
#include "common/layout/init_values.h"

namespace sotto::checkpoint {

absl::Status ReadSlice(const HuggingFaceWeights& weights, const layout::ModelDescription& model,
                       const layout::FlatLayout& layout, uint64_t init_seed, int unit,
                       int64_t begin, absl::Span<float> values) {
  const layout::UnitLayout& places = layout.unit(unit);
  const int64_t end = begin + static_cast<int64_t>(values.size());
  for (size_t i = 0; i < places.parameters.size(); ++i) {
    const layout::Interval parameter = places.parameters[i].interval();
    const int64_t from = std::max(begin, parameter.begin);
    const int64_t to = std::min(end, parameter.end);
    if (from >= to) continue;
    const absl::Span<float> part = values.subspan(from - begin, to - from);
    const int64_t first_element = from - parameter.begin;
    if (weights.Has(unit, static_cast<int>(i))) {
      RETURN_IF_ERROR(weights.Read(unit, static_cast<int>(i), first_element, part));
      continue;
    }
    layout::FillInitialValues(model.units[unit].parameters[i], init_seed,
                              places.first_parameter + static_cast<int64_t>(i), first_element,
                              part);
  }
  return absl::OkStatus();
}

}  // namespace sotto::checkpoint
