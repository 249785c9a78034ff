// What the stages of the models of images and vectors allocate. Their records have one length, so
// that everything is said per example.
#ifndef SOTTO_COMMON_LAYOUT_IMAGE_TRACES_H_
#define SOTTO_COMMON_LAYOUT_IMAGE_TRACES_H_

#include <vector>

#include "common/layout/image_dimensions.h"
#include "common/layout/model_description.h"
#include "common/layout/stage_trace.h"

namespace sotto::layout {

// By stage, as ModelDescription::footprints. `model` has its units and stages; mlp_width is set.
std::vector<StageTrace> MlpTraces(const ModelDescription& model, const MlpDimensions& dimensions);
std::vector<StageTrace> CnnTraces(const ModelDescription& model, const CnnDimensions& dimensions);
std::vector<StageTrace> VitTraces(const ModelDescription& model, const VitDimensions& dimensions);
std::vector<StageTrace> DitTraces(const ModelDescription& model, const DitDimensions& dimensions);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_IMAGE_TRACES_H_
