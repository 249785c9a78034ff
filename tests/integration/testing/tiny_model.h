// A Hugging Face directory that the integration tests train from and read.
#ifndef SOTTO_TESTS_INTEGRATION_TESTING_TINY_MODEL_H_
#define SOTTO_TESTS_INTEGRATION_TESTING_TINY_MODEL_H_

#include <string>

#include "absl/status/status.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::integration {

// GPT-2 of the byte vocabulary (257), width 16, two blocks, 16 tokens; initial values so large that
// its next tokens differ from prompt to prompt.
v1::ModelSpec TinyModel();

// Writes a model with its initial values: config.json and one file of tensors. `missing` names a
// parameter to leave out.
absl::Status WriteModel(const v1::ModelSpec& model, const std::string& directory,
                        const std::string& missing = "");

// Writes TinyModel().
absl::Status WriteTinyModel(const std::string& directory, const std::string& missing = "");

}  // namespace sotto::integration

#endif  // SOTTO_TESTS_INTEGRATION_TESTING_TINY_MODEL_H_
