// Where a checkpoint keeps which tensor of the model.
#ifndef SOTTO_COMMON_CHECKPOINT_CHECKPOINT_TENSORS_H_
#define SOTTO_COMMON_CHECKPOINT_CHECKPOINT_TENSORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "proto/sotto/v1/checkpoint.pb.h"

namespace sotto::checkpoint {

// Immutable.
class CheckpointTensors {
 public:
  struct Place {
    std::string unit;
    int64_t offset = 0;  // elements, in the unit
    int64_t elements = 0;
    std::vector<int64_t> shape;
    bool frozen = false;  // its unit has no optimizer state
  };

  explicit CheckpointTensors(const v1::CheckpointManifest& manifest);

  // Names, shapes, and what is frozen: then one may be read in place of the other, however units
  // were wrapped.
  bool HasSame(const CheckpointTensors& other) const;

  // The tensor must be there.
  const Place& PlaceOf(const std::string& tensor) const { return places_.at(tensor); }

 private:
  std::map<std::string, Place> places_;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_CHECKPOINT_TENSORS_H_
