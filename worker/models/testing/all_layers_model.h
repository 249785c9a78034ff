#ifndef SOTTO_WORKER_MODELS_TESTING_ALL_LAYERS_MODEL_H_
#define SOTTO_WORKER_MODELS_TESTING_ALL_LAYERS_MODEL_H_

#include <memory>

#include "worker/models/model.h"
#include "worker/models/testing/all_layers_description.h"

namespace sotto::models {

// The stages of a description that DescribeAllLayers made; which of its parameters are trainable
// may have been changed since.
std::unique_ptr<Model> MakeAllLayersModel(const layout::ModelDescription& description,
                                          const Model::Options& options);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_TESTING_ALL_LAYERS_MODEL_H_
