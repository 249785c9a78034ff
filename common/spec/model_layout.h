// From the model message to the layout's description of it.
#ifndef SOTTO_COMMON_SPEC_MODEL_LAYOUT_H_
#define SOTTO_COMMON_SPEC_MODEL_LAYOUT_H_

#include "absl/status/statusor.h"
#include "common/layout/gradient_mode.h"
#include "common/layout/model_description.h"
#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::spec {

// Units, parameters and shapes of the model; fields that are unset have spec.proto's defaults.
// The adaptation is applied. INVALID_ARGUMENT: no family (see CompleteModel), dimensions that make
// no model, an adaptation that does not fit it.
absl::StatusOr<layout::ModelDescription> DescribeModel(const v1::ModelSpec& model);

// The plan's message of a gradient mode, and back. INVALID_ARGUMENT: an unspecified member.
v1::UnitMode ModeMessage(const layout::UnitMode& mode);
absl::StatusOr<layout::UnitMode> ModeOf(const v1::UnitMode& message);

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_MODEL_LAYOUT_H_
