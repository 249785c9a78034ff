#include "common/layout/wrapping.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace sotto::layout {
namespace {

// Takes parameters in order and puts each into the unit that is open.
class Wrapper {
 public:
  explicit Wrapper(const ModelDescription& model) : model_(model) {
    wrapped_.blocks.units.resize(model.units.size());
    wrapped_.blocks.parameters.resize(model.units.size());
    wrapped_.units.family = model.family;
    wrapped_.units.vocabulary_size = model.vocabulary_size;
    wrapped_.units.lora_alpha = model.lora_alpha;
  }

  void OpenUnit(std::string name) {
    wrapped_.units.units.push_back({.name = std::move(name)});
    open_elements_ = 0;
  }

  // The block's parameters [begin, end) go into the open unit.
  void Add(size_t block, size_t begin, size_t end) {
    UnitDescription& unit = wrapped_.units.units.back();
    const int index = static_cast<int>(wrapped_.units.units.size()) - 1;
    wrapped_.blocks.units[block].push_back(index);
    for (size_t i = begin; i < end; ++i) {
      wrapped_.blocks.parameters[block].push_back(
          {.unit = index, .index = static_cast<int>(unit.parameters.size())});
      unit.parameters.push_back(model_.units[block].parameters[i]);
      open_elements_ += unit.parameters.back().num_elements();
    }
  }

  void AddBlock(size_t block) { Add(block, 0, model_.units[block].parameters.size()); }

  void RenameUnit(const std::string& name) { wrapped_.units.units.back().name = name; }
  const std::string& unit_name() const { return wrapped_.units.units.back().name; }
  int64_t open_elements() const { return open_elements_; }
  WrappedModel Finish() { return std::move(wrapped_); }

 private:
  const ModelDescription& model_;
  WrappedModel wrapped_;
  int64_t open_elements_ = 0;
};

// Units are named after their first and last block.
absl::StatusOr<WrappedModel> WrapBySize(const ModelDescription& model, int64_t minimum) {
  if (minimum < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("minimum_parameters must be at least 1, but is ", minimum));
  }
  Wrapper wrapper(model);
  wrapper.OpenUnit(model.units[0].name);
  wrapper.AddBlock(0);
  std::string first;
  for (size_t block = 1; block < model.units.size(); ++block) {
    const std::string& name = model.units[block].name;
    if (block == 1 || wrapper.open_elements() >= minimum) {
      first = name;
      wrapper.OpenUnit(name);
    } else {
      wrapper.RenameUnit(absl::StrCat(first, "-", name));
    }
    wrapper.AddBlock(block);
  }
  return wrapper.Finish();
}

// The ends of the block's units among its parameters, and the name of each.
absl::StatusOr<std::vector<std::pair<size_t, std::string>>> EndsOfUnits(
    const UnitDescription& block, const std::vector<LayerKind>& kinds) {
  std::vector<std::pair<size_t, std::string>> ends;
  size_t next = 0;
  for (const LayerDescription& layer : block.layers) {
    for (int parameter : layer.parameters) {
      if (parameter == static_cast<int>(next++)) continue;
      return absl::InvalidArgumentError(absl::StrCat("by_layer: the parameters of layer ",
                                                     layer.name,
                                                     " do not stand behind the layer before"));
    }
    if (std::find(kinds.begin(), kinds.end(), layer.kind) != kinds.end()) {
      ends.emplace_back(next, layer.name);
    }
  }
  if (ends.empty()) ends.emplace_back(0, block.name);
  ends.back().first = block.parameters.size();
  return ends;
}

absl::StatusOr<WrappedModel> WrapByLayer(const ModelDescription& model,
                                         const std::vector<LayerKind>& kinds) {
  if (kinds.empty()) return absl::InvalidArgumentError("by_layer must name a kind of layers");
  Wrapper wrapper(model);
  wrapper.OpenUnit(model.units[0].name);
  wrapper.AddBlock(0);
  for (size_t block = 1; block < model.units.size(); ++block) {
    const auto ends = EndsOfUnits(model.units[block], kinds);
    if (!ends.ok()) return ends.status();
    size_t begin = 0;
    for (const auto& [end, name] : *ends) {
      wrapper.OpenUnit(name);
      wrapper.Add(block, begin, end);
      begin = end;
    }
  }
  return wrapper.Finish();
}

}  // namespace

BlockPlaces PlacesByBlock(const ModelDescription& model) {
  BlockPlaces places;
  for (size_t block = 0; block < model.units.size(); ++block) {
    places.units.push_back({static_cast<int>(block)});
    std::vector<ParameterPlace>& parameters = places.parameters.emplace_back();
    for (size_t i = 0; i < model.units[block].parameters.size(); ++i) {
      parameters.push_back({.unit = static_cast<int>(block), .index = static_cast<int>(i)});
    }
  }
  return places;
}

absl::StatusOr<WrappedModel> Wrap(const ModelDescription& model, const Wrapping& wrapping) {
  switch (wrapping.kind) {
    case Wrapping::Kind::kByBlock:
      return WrappedModel{.units = model, .blocks = PlacesByBlock(model)};
    case Wrapping::Kind::kByLayer:
      return WrapByLayer(model, wrapping.layer_kinds);
    case Wrapping::Kind::kBySize:
      return WrapBySize(model, wrapping.minimum_parameters);
  }
  return absl::InvalidArgumentError("a wrapping that does not exist");
}

}  // namespace sotto::layout
