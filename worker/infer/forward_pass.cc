#include "worker/infer/forward_pass.h"

#include <algorithm>
#include <utility>

#include "ATen/ops/arange.h"
#include "common/base/status_macros.h"

namespace sotto::infer {
namespace {

using layout::Operation;

// Logits held at once: 64 MiB. A constant, so that they are formed in the same pieces everywhere.
constexpr int64_t kMostLogits = int64_t{1} << 24;

}  // namespace

ForwardPass::ForwardPass(layout::ScheduleOptions options, models::Model& model,
                         fsdp::ShardedParameters& parameters)
    : options_([&] {
        options.forward_only = true;
        return std::move(options);
      }()),
      model_(model),
      parameters_(parameters) {}

absl::Status ForwardPass::Begin(int passes) {
  next_ = 0;
  if (schedule_.micro_batches == passes) return absl::OkStatus();
  ASSIGN_OR_RETURN(schedule_, layout::BuildSchedule(options_, passes));
  return layout::CheckSchedule(schedule_);
}

absl::Status ForwardPass::Run(absl::Span<const models::InferenceBatch> groups,
                              VisitOutput visit_output, VisitLogits visit_logits) {
  if (next_ == schedule_.operations.size()) {
    return absl::InternalError("more forward passes than were announced");
  }
  std::vector<at::Tensor> flow(groups.size());
  const int pass = schedule_.operations[next_].micro_batch;
  while (next_ < schedule_.operations.size() && schedule_.operations[next_].micro_batch == pass) {
    RETURN_IF_ERROR(
        Perform(schedule_.operations[next_++], groups, visit_output, visit_logits, flow));
  }
  return absl::OkStatus();
}

absl::Status ForwardPass::Perform(const layout::ScheduledOperation& operation,
                                  absl::Span<const models::InferenceBatch> groups,
                                  VisitOutput visit_output, VisitLogits visit_logits,
                                  std::vector<at::Tensor>& flow) {
  if (operation.operations.Has(Operation::kGather)) {
    return parameters_.Gather(operation.unit, operation.slot);
  }
  if (!operation.operations.Has(Operation::kForward)) return absl::OkStatus();
  const bool is_last = operation.stage + 1 == static_cast<int>(model_.stages().size());
  for (size_t group = 0; group < groups.size(); ++group) {
    const at::Tensor input = std::move(flow[group]);
    if (is_last) {
      FormLogits(operation, group, groups[group], input, visit_logits);
      continue;
    }
    flow[group] = model_.stages()[operation.stage]->Infer(
        parameters_.ParameterViews(operation.block, operation.slot), groups[group], input);
    visit_output(group, operation.stage, flow[group]);
  }
  return absl::OkStatus();
}

void ForwardPass::FormLogits(const layout::ScheduledOperation& operation, size_t group,
                             const models::InferenceBatch& batch, const at::Tensor& input,
                             VisitLogits visit_logits) {
  models::InferenceBatch part = batch;
  const at::Tensor wanted = batch.wanted.defined()
                                ? batch.wanted
                                : at::arange(batch.tokens_BT.numel(), batch.tokens_BT.options());
  const int64_t at_once = std::max<int64_t>(1, kMostLogits / parameters_.model().vocabulary_size);
  for (int64_t first = 0; first < wanted.numel(); first += at_once) {
    part.wanted = wanted.narrow(0, first, std::min(at_once, wanted.numel() - first));
    visit_logits(group, first,
                 model_.stages()[operation.stage]->Infer(
                     parameters_.ParameterViews(operation.block, operation.slot), part, input));
  }
}

}  // namespace sotto::infer
