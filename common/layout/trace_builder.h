// Writes a stage's trace as its code is written: one call for each line that makes, hands on or
// drops a tensor.
//
//   TraceBuilder t(unit);                         // at::Tensor Forward(input) {
//   const auto normalised = t.Layer("ln", t.Argument());  //  normalised = ln_.Forward(input);
//   const auto hidden = t.Layer("up", normalised);        //  hidden = up_.Forward(normalised);
//   t.Keep(hidden);                                       //  kept_.hidden = hidden;
//   t.Return(t.Layer("down", t.PerToken(width)));         //  return
//   down_.Forward(Activate(hidden)) t.StartBackward();                            // } at::Tensor
//   Backward(output_grads, sink) {
//   ...
//
// What is left out, because its size does not grow with the batch's tokens times a width: masks,
// losses, norms, coefficients.
#ifndef SOTTO_COMMON_LAYOUT_TRACE_BUILDER_H_
#define SOTTO_COMMON_LAYOUT_TRACE_BUILDER_H_

#include "absl/strings/string_view.h"
#include "common/layout/model_description.h"
#include "common/layout/stage_trace.h"

namespace sotto::layout {

class TraceBuilder {
 public:
  // A tensor of the function being written.
  using Value = int;

  // `unit` outlives the builder. The operations are Forward's until StartBackward.
  explicit TraceBuilder(const UnitDescription& unit) : unit_(unit) {}

  void StartBackward();
  StageTrace Build() { return trace_; }

  // The function's argument.
  Value Argument() const { return 0; }
  Value Make(const Extent& extent);
  // A new tensor of `values` fp32 values for each token (each example).
  Value PerToken(double values) { return Make({.per_token = values}); }
  Value PerExample(double values) { return Make({.per_example = values}); }
  // A tensor that lives for an instant.
  void Scratch(const Extent& extent) { Drop(Make(extent)); }
  void Drop(Value value);
  void Keep(Value value);
  void Return(Value value);

  // `layer`: its name, or the name's last part after a dot: "attn.c_attn". It is one of the unit's.
  Value Layer(absl::string_view layer, Value input);
  Value Through(absl::string_view layer, Value output_grads);
  // Of a convolution, whose input is not as large as its patches: `input` is.
  Value Through(absl::string_view layer, Value output_grads, const Extent& input);
  // Of a language head: the norm's output to losses; the gradient of the norm's output.
  void Head(absl::string_view layer, Value input);
  Value HeadThrough(absl::string_view layer);

 private:
  int Find(absl::string_view layer) const;
  void Add(const TraceOperation& operation);

  const UnitDescription& unit_;
  StageTrace trace_;
  bool in_backward_ = false;
  int values_ = 1;
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_TRACE_BUILDER_H_
