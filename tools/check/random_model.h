// A model with random weights as a Hugging Face directory: for trying sizes without a download.
#ifndef SOTTO_TOOLS_CHECK_RANDOM_MODEL_H_
#define SOTTO_TOOLS_CHECK_RANDOM_MODEL_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace sotto::check {

struct RandomModelOptions {
  std::string model;  // as ParseModel takes it: a job spec's file, or "{llama: {width: 768, ...}}"
  std::string out;    // directory to write
  std::string dtype = "F32";
  uint64_t seed = 0;
};

// Writes config.json and model.safetensors with the initial values that a job with this init_seed
// would start from, rounded to `dtype`; a few megabytes at a time. Returns the number of
// parameters. INVALID_ARGUMENT: a model that has no Hugging Face form, or another dtype than F32,
// BF16 and F16. ALREADY_EXISTS: the directory holds something.
absl::StatusOr<int64_t> WriteRandomModel(const RandomModelOptions& options);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_RANDOM_MODEL_H_
