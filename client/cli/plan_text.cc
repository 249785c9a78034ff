#include "client/cli/plan_text.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/promise.h"

namespace sotto::cli {
namespace {

void AddFact(std::string& text, absl::string_view name, absl::string_view value) {
  absl::StrAppendFormat(&text, "  %-24s %s\n", name, value);
}

void AddPrivacy(std::string& text, const v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  text += "privacy\n";
  AddFact(text, "sampling rate q",
          absl::StrFormat("%.6g (Poisson over at most %d records)", privacy.sampling_rate(),
                          plan.dataset().max_records()));
  AddFact(text, "batch cap", absl::StrCat(privacy.batch_cap()));
  AddFact(text, "clip norm",
          absl::StrFormat("%.6g (applied %.8g)", privacy.clip_norm(), privacy.clip_norm_applied()));
  if (privacy.not_private()) {
    AddFact(text, "noise multiplier",
            absl::StrFormat("%.6g, not private", privacy.gradient_noise_multiplier()));
    return;
  }
  AddFact(
      text, "sigma",
      absl::StrFormat("%.6g for the release; gradient %.6g, loss %.6g, clip fraction %.6g",
                      privacy.noise_multiplier(), privacy.gradient_noise_multiplier(),
                      privacy.loss_noise_multiplier(), privacy.clip_fraction_noise_multiplier()));
  AddFact(text, "epsilon",
          absl::StrFormat("%.6g at delta %.3g after %d steps", privacy.epsilon(), privacy.delta(),
                          privacy.planned_steps()));
  AddFact(text, "budget charge",
          absl::StrFormat("epsilon %.6g for %d steps, %d of them a reserve for crashes",
                          privacy.reserved_epsilon(), privacy.charged_steps(),
                          privacy.charged_steps() - privacy.planned_steps()));
}

void AddTraining(std::string& text, const v1::JobPlan& plan) {
  const v1::TrainPlan& train = plan.train();
  text += "training\n";
  AddFact(text, "parameters", absl::StrCat(train.parameters()));
  AddFact(text, "steps", absl::StrCat(train.steps()));
  AddFact(text, "expected batch size", absl::StrFormat("%.6g", train.expected_batch_size()));
  AddFact(text, "micro-batch size", absl::StrCat(train.micro_batch_size()));
  AddFact(text, "lengths", absl::StrJoin(train.lengths(), ", "));
  AddFact(
      text, "checkpoint every",
      absl::StrCat(train.checkpoint_every_steps(), " steps, ", train.checkpoint_keep(), " kept"));
  AddFact(text, "estimated time",
          train.estimated_seconds() > 0 ? absl::StrFormat("%.0f s", train.estimated_seconds())
                                        : "unknown: no profile of the device yet");
}

void AddSharding(std::string& text, const v1::JobPlan& plan) {
  const v1::ShardingPlan& sharding = plan.sharding();
  text += "sharding\n";
  AddFact(text, "workers",
          absl::StrFormat("%d, %s, %d threads each", sharding.world_size(),
                          v1::Strategy_Name(plan.spec().workers().strategy()),
                          sharding.threads_per_rank()));
  AddFact(text, "gradient mode", sharding.mode_name());
  AddFact(text, "slots",
          absl::StrFormat("%d gathered, %d gradient", sharding.gathered_slots(),
                          sharding.gradient_slots()));
  AddFact(text, "collectives",
          absl::StrFormat("%d gathers and %d reduces a micro-batch, %s received",
                          sharding.gathers_per_micro_batch(), sharding.reduces_per_micro_batch(),
                          BytesText(sharding.bytes_per_micro_batch())));
  for (const v1::UnitPlan& unit : sharding.units()) {
    AddFact(
        text, absl::StrCat("unit ", unit.name()),
        absl::StrFormat("%d elements, %d with padding", unit.elements(), unit.padded_elements()));
  }
}

void AddMemory(std::string& text, const v1::MemoryPlan& memory) {
  text += "memory of a worker\n";
  AddFact(text, "parameters", BytesText(memory.parameters_bytes()));
  AddFact(text, "gradients", BytesText(memory.gradient_bytes()));
  AddFact(text, "optimizer", BytesText(memory.optimizer_bytes()));
  AddFact(text, "slots", BytesText(memory.slots_bytes()));
  AddFact(text, "activations", BytesText(memory.activations_bytes()));
  AddFact(text, "held gradients", BytesText(memory.held_gradients_bytes()));
  AddFact(text, "workspace", BytesText(memory.workspace_bytes()));
  AddFact(text, "communicator", BytesText(memory.communicator_bytes()));
  AddFact(text, "libraries", BytesText(memory.baseline_bytes()));
  AddFact(text, "total", BytesText(memory.total_bytes()));
}

}  // namespace

std::string BytesText(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  double value = bytes;
  int unit = 0;
  while (value >= 1000 && unit < 4) {
    value /= 1000;
    ++unit;
  }
  return unit == 0 ? absl::StrCat(bytes, " B") : absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string PlanText(const v1::JobPlan& plan) {
  std::string text;
  AddPrivacy(text, plan);
  AddTraining(text, plan);
  AddSharding(text, plan);
  AddMemory(text, plan.memory());
  for (const std::string& note : plan.notes()) absl::StrAppend(&text, "note: ", note, "\n");
  absl::StrAppend(&text, "\n", client::Promise(plan.privacy(), plan.privacy().epsilon()), "\n");
  return text;
}

}  // namespace sotto::cli
