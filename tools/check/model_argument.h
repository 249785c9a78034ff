// A model on the command line.
#ifndef SOTTO_TOOLS_CHECK_MODEL_ARGUMENT_H_
#define SOTTO_TOOLS_CHECK_MODEL_ARGUMENT_H_

#include <string>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::check {

// The model of a job spec's file, or of text as a job spec has it: "{gpt2: {width: 64, ...}}".
// INVALID_ARGUMENT: neither.
absl::StatusOr<v1::ModelSpec> ParseModel(const std::string& text);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_MODEL_ARGUMENT_H_
