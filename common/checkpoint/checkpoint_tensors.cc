#include "common/checkpoint/checkpoint_tensors.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"

namespace sotto::checkpoint {
namespace {

constexpr char kFrozen[] = ".frozen";  // the end of such a unit's name

}  // namespace

CheckpointTensors::CheckpointTensors(const v1::CheckpointManifest& manifest) {
  for (const v1::CheckpointUnit& unit : manifest.units()) {
    for (const v1::CheckpointTensor& tensor : unit.tensors()) {
      Place place{.unit = unit.name(),
                  .offset = tensor.offset(),
                  .elements = 1,
                  .shape = {tensor.shape().begin(), tensor.shape().end()},
                  .frozen = absl::EndsWith(unit.name(), kFrozen)};
      for (const int64_t extent : place.shape) place.elements *= extent;
      places_[tensor.name()] = std::move(place);
    }
  }
}

bool CheckpointTensors::HasSame(const CheckpointTensors& other) const {
  return std::equal(places_.begin(), places_.end(), other.places_.begin(), other.places_.end(),
                    [](const auto& a, const auto& b) {
                      return a.first == b.first && a.second.shape == b.second.shape &&
                             a.second.frozen == b.second.frozen;
                    });
}

}  // namespace sotto::checkpoint
