// Initial parameter values from a counter: element i of parameter p is a pure function of (seed, p,
// i), so that every rank can fill its shard alone and every world size starts from the same model.
#ifndef SOTTO_COMMON_LAYOUT_INIT_VALUES_H_
#define SOTTO_COMMON_LAYOUT_INIT_VALUES_H_

#include <cstdint>

#include "absl/types/span.h"
#include "common/layout/model_description.h"

namespace sotto::layout {

// Fills `values` with elements [first_element, first_element + values.size()) of the parameter,
// counted in row-major order without padding. `parameter_index` is canonical. The seed is public:
// these values carry no privacy.
void FillInitialValues(const ParameterDescription& parameter, uint64_t seed,
                       int64_t parameter_index, int64_t first_element, absl::Span<float> values);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_INIT_VALUES_H_
