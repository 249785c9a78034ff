// What a checkpoint holds of a model: the trainable region of each unit under the unit's name, its
// frozen region as a unit of its own.
#ifndef SOTTO_WORKER_TRAIN_CHECKPOINT_UNITS_H_
#define SOTTO_WORKER_TRAIN_CHECKPOINT_UNITS_H_

#include <string>

#include "common/layout/flat_layout.h"
#include "common/layout/model_description.h"
#include "proto/sotto/v1/checkpoint.pb.h"

namespace sotto::train {

// "<unit>.frozen"
std::string FrozenUnitName(const std::string& unit);

// Appends the units with their tensors. Offsets are those of the flat layout, counted from the
// region's begin: they do not depend on the world size. Regions without parameters are left out.
void AddCheckpointUnits(const layout::ModelDescription& model, const layout::FlatLayout& layout,
                        v1::CheckpointManifest* manifest);

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_CHECKPOINT_UNITS_H_
