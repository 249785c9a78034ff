// Families of models as messages and as dimensions.
#ifndef SOTTO_COMMON_SPEC_MODEL_DIMENSIONS_H_
#define SOTTO_COMMON_SPEC_MODEL_DIMENSIONS_H_

#include "absl/status/statusor.h"
#include "common/layout/encoder_dimensions.h"
#include "common/layout/llama_dimensions.h"
#include "common/layout/model_description.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::spec {

// Fields that are unset have spec.proto's defaults; values are not checked.
layout::Gpt2Dimensions DimensionsOf(const v1::Gpt2Spec& spec);
layout::EncoderDimensions DimensionsOf(const v1::EncoderSpec& spec);
layout::MlpDimensions DimensionsOf(const v1::MlpSpec& spec);
layout::CnnDimensions DimensionsOf(const v1::CnnSpec& spec);
layout::VitDimensions DimensionsOf(const v1::VitSpec& spec);
layout::DitDimensions DimensionsOf(const v1::DitSpec& spec);
// INVALID_ARGUMENT: a rotary scaling without kind or factor.
absl::StatusOr<layout::LlamaDimensions> DimensionsOf(const v1::LlamaSpec& spec);

// The reverse. What has the default value is left unset where zero means it.
v1::Gpt2Spec MessageOf(const layout::Gpt2Dimensions& dimensions);
v1::LlamaSpec MessageOf(const layout::LlamaDimensions& dimensions);

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_MODEL_DIMENSIONS_H_
