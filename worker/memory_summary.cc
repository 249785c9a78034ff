#include "worker/memory_summary.h"

#include "absl/strings/str_cat.h"

namespace sotto {

std::string MemorySummary(const v1::MemoryPlan& planned, const MeasuredMemory& measured) {
  const int64_t tensors = planned.parameters_bytes() + planned.gradient_bytes() +
                          planned.optimizer_bytes() + planned.slots_bytes() +
                          planned.activations_bytes() + planned.held_gradients_bytes() +
                          planned.workspace_bytes();
  std::string text = "memory:";
  const auto add = [&text](absl::string_view name, int64_t bytes) {
    absl::StrAppend(&text, " ", name, "=", bytes);
  };
  add("planned_parameters", planned.parameters_bytes());
  add("planned_gradients", planned.gradient_bytes());
  add("planned_optimizer", planned.optimizer_bytes());
  add("planned_slots", planned.slots_bytes());
  add("planned_activations", planned.activations_bytes());
  add("planned_held_gradients", planned.held_gradients_bytes());
  add("planned_workspace", planned.workspace_bytes());
  add("planned_communicator", planned.communicator_bytes());
  add("planned_baseline", planned.baseline_bytes());
  add("planned_fragmentation", planned.fragmentation_bytes());
  add("planned_tensors", tensors);
  add("planned_total", planned.total_bytes());
  add("tensor_peak", measured.tensor_peak_bytes);
  add("resident_peak", measured.resident_peak_bytes);
  return text;
}

}  // namespace sotto
