#include "common/layout/trace_builder.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"

namespace sotto::layout {

using Kind = TraceOperation::Kind;

void TraceBuilder::StartBackward() {
  in_backward_ = true;
  values_ = 1;
}

TraceBuilder::Value TraceBuilder::Make(const Extent& extent) {
  Add({.kind = Kind::kMake, .result = values_, .extent = extent});
  return values_++;
}

void TraceBuilder::Drop(Value value) { Add({.kind = Kind::kDrop, .value = value}); }

void TraceBuilder::Keep(Value value) { Add({.kind = Kind::kKeep, .value = value}); }

void TraceBuilder::Return(Value value) { Add({.kind = Kind::kReturn, .value = value}); }

TraceBuilder::Value TraceBuilder::Layer(absl::string_view layer, Value input) {
  Add({.kind = Kind::kLayer, .value = input, .result = values_, .layer = Find(layer)});
  return values_++;
}

TraceBuilder::Value TraceBuilder::Through(absl::string_view layer, Value output_grads) {
  Add({.kind = Kind::kThrough, .value = output_grads, .result = values_, .layer = Find(layer)});
  return values_++;
}

TraceBuilder::Value TraceBuilder::Through(absl::string_view layer, Value output_grads,
                                          const Extent& input) {
  const Value input_grads = Through(layer, output_grads);
  trace_.backward.back().extent = input;
  return input_grads;
}

void TraceBuilder::Head(absl::string_view layer, Value input) {
  Add({.kind = Kind::kHead, .value = input, .layer = Find(layer)});
}

TraceBuilder::Value TraceBuilder::HeadThrough(absl::string_view layer) {
  Add({.kind = Kind::kHeadThrough, .result = values_, .layer = Find(layer)});
  return values_++;
}

int TraceBuilder::Find(absl::string_view layer) const {
  const std::string suffix = absl::StrCat(".", layer);
  for (size_t i = 0; i < unit_.layers.size(); ++i) {
    const std::string& name = unit_.layers[i].name;
    if (name == layer || absl::EndsWith(name, suffix)) return static_cast<int>(i);
  }
  SOTTO_CHECK(false) << "unit " << unit_.name << " has no layer " << std::string(layer);
  return -1;
}

void TraceBuilder::Add(const TraceOperation& operation) {
  (in_backward_ ? trace_.backward : trace_.forward).push_back(operation);
}

}  // namespace sotto::layout
