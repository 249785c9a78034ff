#ifndef SOTTO_WORKER_MODELS_UNIT_LAYERS_H_
#define SOTTO_WORKER_MODELS_UNIT_LAYERS_H_

#include "common/layout/model_description.h"
#include "worker/nn/activation.h"
#include "worker/nn/embedding.h"
#include "worker/nn/layer_norm.h"
#include "worker/nn/linear.h"
#include "worker/nn/lora_linear.h"
#include "worker/nn/rms_norm.h"

namespace sotto::models {

// What a stage's layers need to know of their unit.

// nn::Layer::index() of the layer that owns the parameter (a position in the unit's list); 0 in a
// unit without layer descriptions, and for parameters that the unit does not have.
int LayerIndex(const layout::UnitDescription& unit, int parameter);

// True for a parameter that the unit has and does not train.
bool IsFrozen(const layout::UnitDescription& unit, int parameter);

// Options of the linear map with these parameters (`bias` may be nn::Linear::kNoBias): its index,
// what of it is frozen, and the adapter where the unit has "<name>.lora_A.weight" [rank, I] and
// "<name>.lora_B.weight" [O, rank] beside "<name>.weight", with scale lora_alpha / rank.
nn::LoraLinear::Options LinearOptions(const layout::UnitDescription& unit, int weight, int bias,
                                      nn::Linear::WeightLayout weight_layout, double lora_alpha);

nn::LayerNorm::Options LayerNormOptions(const layout::UnitDescription& unit, int gain, int bias,
                                        double epsilon);

// Options of an embedding or learned positions with this weight.
nn::EmbeddingOptions EmbeddingOptionsOf(const layout::UnitDescription& unit, int weight);

nn::RmsNorm::Options RmsNormOptions(const layout::UnitDescription& unit, int gain, double epsilon);

nn::ActivationKind ActivationKindOf(layout::Activation activation);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_UNIT_LAYERS_H_
