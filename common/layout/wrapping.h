// How a model's blocks become units: what is gathered and reduced together. Wrapping changes
// nothing else: parameters keep their order, so an element keeps its initial value and its noise.
#ifndef SOTTO_COMMON_LAYOUT_WRAPPING_H_
#define SOTTO_COMMON_LAYOUT_WRAPPING_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/layout/model_description.h"

namespace sotto::layout {

struct Wrapping {
  enum class Kind {
    kByBlock,  // a unit for every block
    kByLayer,  // a unit for every layer of `layer_kinds`, with the layers of other kinds before it
               // in the block; the block's last unit also has those behind
    kBySize,   // neighbouring blocks share a unit until it has minimum_parameters
  };
  Kind kind = Kind::kByBlock;
  std::vector<LayerKind> layer_kinds;
  int64_t minimum_parameters = 1;
};

// Where a parameter of a block is: its unit, and its position there.
struct ParameterPlace {
  int unit = 0;
  int index = 0;

  friend bool operator==(const ParameterPlace&, const ParameterPlace&) = default;
};

struct BlockPlaces {
  std::vector<std::vector<int>> units;                  // by block, as ScheduleOptions takes it
  std::vector<std::vector<ParameterPlace>> parameters;  // by block, in the block's order
};

struct WrappedModel {
  // The model's parameters in the same order, by unit. Without layers, stages and footprints, which
  // are the blocks'. By block: the model.
  ModelDescription units;
  BlockPlaces blocks;
};

// Every block is its unit.
BlockPlaces PlacesByBlock(const ModelDescription& model);

// The root is one unit in every wrapping. INVALID_ARGUMENT: minimum_parameters < 1; no kinds; a
// layer of a block whose parameters do not stand together.
absl::StatusOr<WrappedModel> Wrap(const ModelDescription& model, const Wrapping& wrapping);

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_WRAPPING_H_
