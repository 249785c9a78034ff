#include "client/cli/plan_text.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/promise.h"

namespace sotto::cli {
namespace {

void AddFact(std::string& text, absl::string_view name, absl::string_view value) {
  absl::StrAppendFormat(&text, "  %-24s %s\n", name, value);
}

std::string SamplingText(const v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  switch (privacy.sampler().kind()) {
    case v1::SamplerPlan::SHUFFLED:
      return absl::StrFormat("shuffled: %d places a batch, %d steps an epoch, which costs as one",
                             privacy.sampler().batch_places(), privacy.sampler().steps_per_epoch());
    case v1::SamplerPlan::FULL_BATCH:
      return "full batches: every record in every step";
    default:
      return absl::StrFormat("Poisson over at most %d records, q = %.6g",
                             plan.dataset().max_records(), privacy.sampling_rate());
  }
}

bool Clips(const v1::JobPlan& plan) { return plan.sharding().mode().norm() != v1::UnitMode::NONE; }

std::string ClippingText(const v1::JobPlan& plan) {
  if (!Clips(plan)) return "none";
  const v1::ClippingPlan& clipping = plan.privacy().clipping();
  switch (clipping.rule()) {
    case v1::ClippingPlan::PER_UNIT:
      return absl::StrCat(
          "per unit, at ",
          absl::StrJoin(clipping.unit_thresholds(), ", ", [](std::string* out, double threshold) {
            absl::StrAppendFormat(out, "%.4g", threshold);
          }));
    case v1::ClippingPlan::AUTOMATIC:
      return absl::StrFormat("automatic, gamma %.4g", clipping.gamma());
    case v1::ClippingPlan::ADAPTIVE:
      return absl::StrFormat("adaptive: C follows quantile %.4g of the norms, within %.4g to %.4g",
                             clipping.target_quantile(), clipping.minimum(), clipping.maximum());
    default:
      return "flat";
  }
}

// Without clipping only noise has anything to do with the clip norm.
void AddClipping(std::string& text, const v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  if (Clips(plan)) {
    AddFact(
        text, "clip norm",
        absl::StrFormat("%.6g (applied %.8g)", privacy.clip_norm(), privacy.clip_norm_applied()));
  } else if (privacy.gradient_noise_multiplier() > 0) {
    AddFact(text, "clip norm", absl::StrFormat("%.6g, for the noise alone", privacy.clip_norm()));
  }
  AddFact(text, "clipping", ClippingText(plan));
  const v1::ScheduleSpec& clip_schedule = plan.spec().privacy().clip_schedule();
  if (!clip_schedule.has_constant() &&
      clip_schedule.kind_case() != v1::ScheduleSpec::KIND_NOT_SET) {
    AddFact(text, "clip schedule", clip_schedule.ShortDebugString());
  }
}

// A line a noise segment where there are several.
void AddSegments(std::string& text, const v1::PrivacyPlan& privacy) {
  if (privacy.segments_size() < 2) return;
  for (const v1::NoiseSegment& segment : privacy.segments()) {
    AddFact(text, absl::StrCat("sigma from step ", segment.first_step()),
            absl::StrFormat("%.6g; gradient %.6g", segment.noise_multiplier(),
                            segment.gradient_noise_multiplier()));
  }
}

// What is charged in steps, or in epochs where each is charged as one.
std::string ChargeText(const v1::PrivacyPlan& privacy) {
  const bool epochs = privacy.sampler().kind() == v1::SamplerPlan::SHUFFLED;
  const int64_t planned = epochs ? (privacy.planned_steps() -
                                    1) / std::max<int64_t>(1, privacy.sampler().steps_per_epoch()) +
                                       1
                                 : privacy.planned_steps();
  return absl::StrFormat("epsilon %.6g for %d %s, %d of them a reserve for crashes",
                         privacy.reserved_epsilon(), privacy.charged_steps(),
                         epochs ? "epochs" : "steps", privacy.charged_steps() - planned);
}

void AddPrivacy(std::string& text, const v1::JobPlan& plan) {
  const v1::PrivacyPlan& privacy = plan.privacy();
  text += "privacy\n";
  AddFact(text, "sampling", SamplingText(plan));
  if (Clips(plan)) {
    AddFact(text, "adjacency",
            absl::StrFormat("%s: an example moves the sum by %.4g clip norms at most",
                            privacy.adjacency(), privacy.sensitivity_factor()));
  }
  AddFact(text, "batch cap", absl::StrCat(privacy.batch_cap()));
  AddClipping(text, plan);
  if (privacy.not_private()) {
    AddFact(text, "noise multiplier",
            absl::StrFormat("%.6g, not private", privacy.gradient_noise_multiplier()));
    return AddSegments(text, privacy);
  }
  AddFact(
      text, "sigma",
      absl::StrFormat("%.6g for the release; gradient %.6g, loss %.6g, clip fraction %.6g",
                      privacy.noise_multiplier(), privacy.gradient_noise_multiplier(),
                      privacy.loss_noise_multiplier(), privacy.clip_fraction_noise_multiplier()) +
          (privacy.accuracy_noise_multiplier() > 0
               ? absl::StrFormat(", accuracy %.6g", privacy.accuracy_noise_multiplier())
               : ""));
  AddSegments(text, privacy);
  AddFact(text, "epsilon",
          absl::StrFormat("%.6g at delta %.3g after %d steps", privacy.epsilon(), privacy.delta(),
                          privacy.planned_steps()));
  AddFact(text, "budget charge", ChargeText(privacy));
}

void AddTraining(std::string& text, const v1::JobPlan& plan) {
  const v1::TrainPlan& train = plan.train();
  text += "training\n";
  int64_t trained = 0;
  for (const v1::UnitPlan& unit : plan.sharding().units()) trained += unit.trained_elements();
  AddFact(text, "parameters",
          trained == train.parameters()
              ? absl::StrCat(train.parameters())
              : absl::StrFormat("%d, %d of them trained", train.parameters(), trained));
  AddFact(text, "steps", absl::StrCat(train.steps()));
  AddFact(text, "expected batch size", absl::StrFormat("%.6g", train.expected_batch_size()));
  AddFact(text, "micro-batch size", absl::StrCat(train.micro_batch_size()));
  AddFact(text, "lengths", absl::StrJoin(train.lengths(), ", "));
  const std::string best =
      train.checkpoint_keep_best() > 0
          ? absl::StrCat(", and the ", train.checkpoint_keep_best(), " of lowest evaluation loss")
          : "";
  AddFact(text, "checkpoint every",
          absl::StrCat(train.checkpoint_every_steps(), " steps, ", train.checkpoint_keep(), " kept",
                       best));
  AddFact(text, "estimated time",
          train.estimated_seconds() > 0 ? absl::StrFormat("%.2g s", train.estimated_seconds())
                                        : "unknown: no profile of the device yet");
  if (train.optimizer_floor() > 0) {
    AddFact(text, "second moment's floor", absl::StrFormat("%.4g", train.optimizer_floor()));
  }
}

std::string ModeText(const v1::UnitMode& mode) {
  std::vector<std::string> parts = {v1::UnitMode::Norm_Name(mode.norm())};
  if (mode.when() != v1::UnitMode::WHEN_UNSPECIFIED) {
    parts.push_back(v1::UnitMode::When_Name(mode.when()));
  }
  if (mode.kept() != v1::UnitMode::KEPT_UNSPECIFIED) {
    parts.push_back(v1::UnitMode::Kept_Name(mode.kept()));
  }
  return absl::AsciiStrToLower(absl::StrJoin(parts, " "));
}

// What the layers do: the plan's own mode is what the schedule is built for, and `auto` may give
// each layer another.
std::string LayerModesText(const v1::ShardingPlan& sharding) {
  std::set<std::string> modes;
  for (const v1::LayerPlan& layer : sharding.layers()) modes.insert(ModeText(layer.mode()));
  if (modes.empty()) return ModeText(sharding.mode());
  return modes.size() == 1 ? *modes.begin() : "mixed";
}

// Layers of the same kind that are treated alike share a line.
void AddLayers(std::string& text, const v1::ShardingPlan& sharding) {
  struct Group {
    int layers = 0;
    double seconds = 0;
    std::string example;
  };
  std::map<std::string, Group> groups;
  for (const v1::LayerPlan& layer : sharding.layers()) {
    std::string key = absl::StrCat(layer.kind(), ": ", ModeText(layer.mode()));
    if (!layer.note().empty()) absl::StrAppend(&key, " (", layer.note(), ")");
    Group& group = groups[key];
    if (group.layers++ == 0) group.example = layer.name();
    group.seconds += layer.predicted_seconds();
  }
  for (const auto& [key, group] : groups) {
    AddFact(text, absl::StrCat(group.layers, group.layers == 1 ? " layer" : " layers"),
            absl::StrFormat("%s, %.3g ms a micro-batch for clipping, e.g. %s", key,
                            1000 * group.seconds, group.example));
  }
}

// What few jobs ask for.
void AddUnusual(std::string& text, const v1::JobPlan& plan) {
  const v1::ShardingPlan& sharding = plan.sharding();
  if (sharding.kept_gathered_size() > 0) {
    AddFact(text, "kept gathered",
            absl::StrJoin(sharding.kept_gathered(), ", ", [&](std::string* out, int unit) {
              absl::StrAppend(out, sharding.units(unit).name());
            }));
  }
  if (plan.train().checkpointed_blocks_size() > 0) {
    AddFact(text, "computed again",
            absl::StrFormat("activations of %d blocks, before each backward",
                            plan.train().checkpointed_blocks_size()));
  }
  if (const int64_t every = plan.spec().workers().clear_caches_every_steps(); every > 0) {
    AddFact(text, "caches cleared",
            absl::StrFormat("every %d steps, after loading and after evaluations; on all workers",
                            every));
  }
  if (sharding.check_operations()) {
    AddFact(text, "checks", "every operation: states, finite values, padding, other ranks");
  }
}

void AddRanks(std::string& text, const v1::JobPlan& plan) {
  const v1::ShardingPlan& sharding = plan.sharding();
  std::string strategy = v1::Strategy_Name(plan.spec().workers().strategy());
  if (sharding.replicas() > 1) {
    absl::StrAppendFormat(&strategy, " (%d replicas of %d)", sharding.replicas(),
                          sharding.shard_group_size());
  }
  AddFact(text, "workers",
          absl::StrFormat("%d, %s, %d threads each", sharding.world_size(), strategy,
                          sharding.threads_per_rank()));
}

void AddSharding(std::string& text, const v1::JobPlan& plan) {
  const v1::ShardingPlan& sharding = plan.sharding();
  text += "sharding\n";
  AddRanks(text, plan);
  AddFact(text, "gradient mode",
          absl::StrFormat("%s: %s", sharding.mode_name(), LayerModesText(sharding)));
  AddLayers(text, sharding);
  AddFact(text, "slots",
          absl::StrFormat("%d gathered, %d ahead, %d gradient", sharding.gathered_slots(),
                          sharding.prefetch_depth(), sharding.gradient_slots()));
  AddUnusual(text, plan);
  AddFact(text, "collectives",
          absl::StrFormat("%d gathers and %d reduces a micro-batch, %s received",
                          sharding.gathers_per_micro_batch(), sharding.reduces_per_micro_batch(),
                          BytesText(sharding.bytes_per_micro_batch())));
  AddFact(text, "",
          absl::StrFormat("%d gathers and %d reduces a step besides, %s received",
                          sharding.gathers_per_step(), sharding.reduces_per_step(),
                          BytesText(sharding.bytes_per_step())));
  for (const v1::UnitPlan& unit : sharding.units()) {
    AddFact(text, absl::StrCat("unit ", unit.name()),
            absl::StrFormat("%d elements, %d trained, %d with padding", unit.elements(),
                            unit.trained_elements(), unit.padded_elements()));
  }
}

std::string KindText(const v1::InferenceSpec& spec) {
  switch (spec.kind_case()) {
    case v1::InferenceSpec::kGenerate:
      return absl::StrFormat(
          "generate at most %d tokens, %s", spec.generate().max_new_tokens(),
          spec.generate().temperature() > 0
              ? absl::StrFormat("drawn at temperature %.4g, seed %d", spec.generate().temperature(),
                                spec.generate().seed())
              : "the likeliest each time");
    case v1::InferenceSpec::kScore:
      return "score continuations";
    case v1::InferenceSpec::kCapture:
      return absl::StrCat("capture the residual stream after blocks ",
                          absl::StrJoin(spec.capture().layers(), ", "));
    default:
      return absl::StrFormat("add %.4g times the projections of %s", spec.edit().scale(),
                             spec.edit().projections());
  }
}

void AddInference(std::string& text, const v1::JobPlan& plan) {
  const v1::InferenceSpec& spec = plan.spec().inference();
  text += "inference\n";
  AddFact(text, "does", KindText(spec));
  AddFact(text, "parameters", absl::StrCat(plan.train().parameters()));
  AddFact(text, "weights",
          plan.inference().checkpoint_path().empty() ? plan.spec().model().hugging_face_directory()
                                                     : plan.inference().checkpoint_path());
  if (!spec.has_edit()) {
    AddFact(text, "prompts",
            absl::StrFormat("%d of %s, %d in a batch, %d tokens at most with what is added",
                            plan.inference().prompts(), spec.prompt_file(),
                            plan.inference().batch_size(), plan.inference().longest_prompt()));
  }
  AddFact(text, "output", spec.output());
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
  AddFact(text, "heap and threads", BytesText(memory.fragmentation_bytes()));
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
  if (plan.has_inference()) {
    AddInference(text, plan);
    text += "sharding\n";
    AddRanks(text, plan);
  } else {
    AddPrivacy(text, plan);
    AddTraining(text, plan);
    AddSharding(text, plan);
  }
  AddMemory(text, plan.memory());
  for (const std::string& note : plan.notes()) absl::StrAppend(&text, "note: ", note, "\n");
  if (plan.has_inference()) return text;  // No dataset is read: nothing to promise.
  absl::StrAppend(&text, "\n", client::Promise(plan), "\n");
  return text;
}

}  // namespace sotto::cli
