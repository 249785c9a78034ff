// Models of images and vectors in a spec: defaults, rules, and what their data must be like.
#ifndef SOTTO_SERVER_PLANNING_IMAGE_MODELS_H_
#define SOTTO_SERVER_PLANNING_IMAGE_MODELS_H_

#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"
#include "server/planning/rules.h"

namespace sotto::planning {

// MLP, CNN, ViT or DiT: examples are values and have length 1.
bool IsImageModel(const v1::ModelSpec& model);

// Whether accuracy means something: a label is what the model is to find.
bool IsClassifier(const v1::ModelSpec& model);

// Outputs of the loss: classes, or 2 for losses that have none.
int32_t ClassesOf(const v1::ModelSpec& model);

void SetImageModelDefaults(v1::ModelSpec& model);

// Dimensions in range (byte counts stay inside 64 bits).
void CheckImageModel(const v1::ModelSpec& model, Rules& rules);

// The dataset's shape, labels and targets against the model's.
void CheckImageData(const v1::ModelSpec& model, const v1::DatasetFacts& dataset, Rules& rules);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_IMAGE_MODELS_H_
