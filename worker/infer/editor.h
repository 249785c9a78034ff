#ifndef SOTTO_WORKER_INFER_EDITOR_H_
#define SOTTO_WORKER_INFER_EDITOR_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "worker/fsdp/sharded_parameters.h"

namespace sotto::infer {

// Adds scale * left right^T to each matrix NAME for which the safetensors file at `path` has
// NAME.left [rows] and NAME.right [columns] (of any floating-point type). NAME is the parameter's,
// alone or behind "transformer." or "model."; rows and columns are those of the matrix as it is
// stored. Every rank changes its own elements; an element's new value is a function of its old one
// alone, formed in float64 and rounded once: the same bits under any sharding. Returns the number
// of matrices.
//
// INVALID_ARGUMENT, naming the tensor: no such parameter, no matrix, a vector of another length or
// without its partner, a file without any. NOT_FOUND: no such file.
absl::StatusOr<int64_t> ApplyProjections(const std::string& path, double scale,
                                         fsdp::ShardedParameters& parameters);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_EDITOR_H_
