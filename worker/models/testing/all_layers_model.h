#ifndef SOTTO_WORKER_MODELS_TESTING_ALL_LAYERS_MODEL_H_
#define SOTTO_WORKER_MODELS_TESTING_ALL_LAYERS_MODEL_H_

#include <memory>

#include "worker/models/model.h"
#include "worker/models/testing/all_layers_description.h"

namespace sotto::models {

// The stages of DescribeAllLayers(all_layers).
std::unique_ptr<Model> MakeAllLayersModel(const AllLayersOptions& all_layers,
                                          const Model::Options& options);

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_TESTING_ALL_LAYERS_MODEL_H_
