#ifndef SOTTO_WORKER_INFER_EDITOR_H_
#define SOTTO_WORKER_INFER_EDITOR_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "worker/fsdp/sharded_parameters.h"

namespace sotto::infer {

// Changes each matrix NAME for which the safetensors file at `path` has vectors of any
// floating-point type:
//   NAME.left [rows], NAME.right [columns]   adds scale * left right^T
//   NAME.direction [outputs]                 takes scale * v v^T from what the matrix puts out, v
//                                            being the direction at unit length: W - scale v (v^T
//                                            W)
// NAME is the parameter's, alone or behind "transformer." or "model."; rows and columns are those
// of the matrix as it is stored, outputs its rows or, in GPT-2's blocks and in embeddings, its
// columns. Every rank changes its own elements, in float64 and rounded once; for a direction, ranks
// gather the matrix's unit and sum in the order of the whole matrix: the same bits under any
// sharding. Returns the number of matrices. Collective.
//
// INVALID_ARGUMENT, naming the tensor: no such parameter, no matrix, a vector of another length,
// not finite or without its partner, a direction that is zero or beside left and right, a file
// without any. NOT_FOUND: no such file. Else the communicator's.
absl::StatusOr<int64_t> ApplyProjections(const std::string& path, double scale,
                                         fsdp::ShardedParameters& parameters);

}  // namespace sotto::infer

#endif  // SOTTO_WORKER_INFER_EDITOR_H_
