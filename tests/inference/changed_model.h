// Copies of models with other values, another type or more tensors in their files.
#ifndef SOTTO_TESTS_INFERENCE_CHANGED_MODEL_H_
#define SOTTO_TESTS_INFERENCE_CHANGED_MODEL_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"

namespace sotto::inference {

// Writes the directory `to`: the golden model's config.json and its tensors, after `change` had a
// look at each, in `dtype` (F64, F32, BF16 or F16).
absl::Status WriteChanged(
    const std::string& golden, const std::string& to, const std::string& dtype,
    absl::FunctionRef<void(const std::string& tensor, absl::Span<float> values)> change);

// Writes the directory `to`: the golden GPT-2 as old programs export it, with its tied head stored
// and with masks and frequencies of several dtypes, which are no parameters.
absl::Status WriteWithBuffers(const std::string& golden, const std::string& to);

}  // namespace sotto::inference

#endif  // SOTTO_TESTS_INFERENCE_CHANGED_MODEL_H_
