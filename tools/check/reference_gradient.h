// One example's gradient by autograd in fp64, for the families that the oracle knows.
#ifndef SOTTO_TOOLS_CHECK_REFERENCE_GRADIENT_H_
#define SOTTO_TOOLS_CHECK_REFERENCE_GRADIENT_H_

#include <cstdint>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"
#include "common/layout/model_description.h"
#include "tests/equivalence/example_gradient.h"

namespace sotto::check {

struct ReferenceRecord {
  at::Tensor tokens_T;     // int64
  at::Tensor loss_mask_T;  // float
  bool is_mean = true;     // over the scored tokens; else their sum
  int64_t label = -1;      // of classification
};

// UNIMPLEMENTED: there is no reference for the family, or for one of its options.
absl::Status CheckHasReference(const layout::ModelDescription& description);

// Needs CheckHasReference.
equivalence::ExampleGradient ReferenceGradient(const layout::ModelDescription& description,
                                               const equivalence::UnitTensors& parameters,
                                               const ReferenceRecord& record);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_REFERENCE_GRADIENT_H_
