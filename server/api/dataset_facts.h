// A registered dataset as planning sees it.
#ifndef SOTTO_SERVER_API_DATASET_FACTS_H_
#define SOTTO_SERVER_API_DATASET_FACTS_H_

#include "proto/sotto/v1/ledger_service.pb.h"
#include "proto/sotto/v1/plan.pb.h"

namespace sotto::api {

v1::DatasetFacts FactsOf(const v1::Dataset& dataset);

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_DATASET_FACTS_H_
