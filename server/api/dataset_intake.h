// Checks a dataset before it is registered.
#ifndef SOTTO_SERVER_API_DATASET_INTAKE_H_
#define SOTTO_SERVER_API_DATASET_INTAKE_H_

#include "absl/status/statusor.h"
#include "proto/sotto/v1/ledger_service.pb.h"

namespace sotto::api {

// Reads and validates the whole file and gives what the ledger records. Blocks.
// INVALID_ARGUMENT: BadRequest with every broken rule of the request (name, path, max_records,
// budget), or the first broken rule of the file, truncation included. NOT_FOUND: no such file.
absl::StatusOr<v1::Dataset> ExamineDataset(const v1::RegisterDatasetRequest& request);

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_DATASET_INTAKE_H_
