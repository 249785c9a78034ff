// A model spec that names a Hugging Face directory instead of a family.
#ifndef SOTTO_COMMON_SPEC_HUGGING_FACE_MODEL_H_
#define SOTTO_COMMON_SPEC_HUGGING_FACE_MODEL_H_

#include "absl/status/status.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::spec {

// Where `model` names a directory but no family: fills the family in from the directory's
// config.json, so that whoever plans and runs it needs no file to know its shape. Else does
// nothing. Call it once, before planning. NOT_FOUND: no config.json. INVALID_ARGUMENT: what
// ParseHuggingFaceConfig refuses; the message names the directory.
absl::Status CompleteModel(v1::ModelSpec& model);

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_HUGGING_FACE_MODEL_H_
