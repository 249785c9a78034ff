// A model's parameters in the files of a Hugging Face directory.
#ifndef SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_WEIGHTS_H_
#define SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_WEIGHTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/layout/model_description.h"

namespace sotto::checkpoint {

// Whether a model whose configuration ties head and embedding has a head of its own all the same:
// both tensors are there and differ. transformers 5 then leaves them apart. Compares one of `parts`
// equal parts: the head is the model's own when any part says so. Errors: ReadAsFloats's.
absl::StatusOr<bool> HasOwnHead(const HuggingFaceFiles& files, int part = 0, int parts = 1);

// Which tensor holds which parameter. Immutable; thread-safe; borrows the files.
class HuggingFaceWeights {
 public:
  // A parameter is found under its name, alone or behind "transformer." or "model."; a tied
  // embedding also as lm_head.weight. LoRA's matrices ("lora_") are the model's own and may be
  // missing. Tensors that are no parameters are passed over: causal masks, rotary frequencies, the
  // head of a tied model. INVALID_ARGUMENT, naming the tensor: one that is missing, of another
  // shape, of a dtype that is not a float's, found twice, or of no use.
  static absl::StatusOr<HuggingFaceWeights> Match(const HuggingFaceFiles& files,
                                                  const layout::ModelDescription& model);

  // False for what the model has and the files do not.
  bool Has(int unit, int parameter) const { return Tensor(unit, parameter).entry != nullptr; }

  // The tensor's name in its file. Only where Has().
  const std::string& TensorName(int unit, int parameter) const {
    return Tensor(unit, parameter).entry->name;
  }

  // Elements [begin, begin + values.size()) in row-major order. Only where Has().
  absl::Status Read(int unit, int parameter, int64_t begin, absl::Span<float> values) const {
    return ReadAsFloats(Tensor(unit, parameter), begin, values);
  }

 private:
  HuggingFaceWeights() = default;

  const FileTensor& Tensor(int unit, int parameter) const { return tensors_[unit][parameter]; }

  std::vector<std::vector<FileTensor>> tensors_;  // by unit and parameter
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_WEIGHTS_H_
