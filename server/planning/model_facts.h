// What other rules need to know of the model, the mode and the dataset, whatever the family.
#ifndef SOTTO_SERVER_PLANNING_MODEL_FACTS_H_
#define SOTTO_SERVER_PLANNING_MODEL_FACTS_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "proto/sotto/v1/plan.pb.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::planning {

// "gpt2", ...; empty: none is named. The other functions give 0 then.
absl::string_view FamilyOf(const v1::ModelSpec& model);
// Tokens of an example at most.
int32_t MaxLengthOf(const v1::ModelSpec& model);
int32_t VocabularyOf(const v1::ModelSpec& model);
// What the loss is taken over: the vocabulary, a classifier's classes, or 2 for losses of values.
int32_t OutputsOf(const v1::ModelSpec& model);

// Does anything scale with the clip norm? In a mode that does not clip only noise does.
bool UsesClipNorm(const v1::JobSpec& spec);

// The dataset's adjacency; of data without a budget add_or_remove_one.
std::string AdjacencyOf(const v1::DatasetFacts& dataset);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_MODEL_FACTS_H_
