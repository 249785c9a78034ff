// Which files a Hugging Face directory has, and where in them every tensor lies. No I/O.
#ifndef SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_LAYOUT_H_
#define SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/checkpoint/safetensors_layout.h"

namespace sotto::checkpoint {

// A function of its arguments alone: ranks that lay out the same tensors agree on every byte's
// place. Immutable; thread-safe.
class HuggingFaceLayout {
 public:
  struct File {
    std::string name;
    std::string head;  // its first bytes
    int64_t bytes = 0;
  };
  struct Place {
    int file = 0;
    int64_t begin = 0;  // the tensor's first byte in the file
  };

  // Tensors in their order; a new file when the next one does not fit into `max_file_bytes` of
  // tensors (a single larger one has a file of its own); 0: one file. Errors: of LayOutSafetensors.
  static absl::StatusOr<HuggingFaceLayout> Create(std::vector<TensorShape> tensors,
                                                  int64_t max_file_bytes);

  const std::vector<TensorShape>& tensors() const { return tensors_; }
  const std::vector<File>& files() const { return files_; }
  const Place& PlaceOf(int tensor) const { return places_[tensor]; }
  int64_t num_elements() const;  // of all tensors
  int64_t num_bytes() const;     // without headers

  // The text of model.safetensors.index.json, which directories of several files have.
  std::string FormatIndex() const;

 private:
  HuggingFaceLayout() = default;

  std::vector<TensorShape> tensors_;
  std::vector<Place> places_;  // by tensor
  std::vector<File> files_;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_HUGGING_FACE_LAYOUT_H_
