#include "server/api/dataset_facts.h"

namespace sotto::api {

v1::DatasetFacts FactsOf(const v1::Dataset& dataset) {
  v1::DatasetFacts facts;
  facts.set_name(dataset.name());
  facts.set_path(dataset.path());
  facts.set_sha256(dataset.sha256());
  facts.set_max_records(dataset.max_records());
  facts.set_vocabulary_size(dataset.vocabulary_size());
  facts.set_max_length(dataset.max_length());
  facts.set_classes(dataset.classes());
  *facts.mutable_image_shape() = dataset.image_shape();
  facts.set_targets(dataset.targets());
  facts.set_budgeted(dataset.budgeted());
  facts.set_budget_epsilon(dataset.budget().epsilon());
  facts.set_budget_delta(dataset.budget().delta());
  facts.set_privacy_unit(dataset.budget().privacy_unit());
  facts.set_adjacency(dataset.budget().adjacency());
  return facts;
}

}  // namespace sotto::api
