#include "tools/check/profile_report.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/layout/memory.h"
#include "tools/check/deferred_report.h"
#include "tools/check/gnuplot.h"

namespace sotto::check {
namespace {

using nlohmann::json;

// A phase and its column's two lines.
struct Column {
  const char* phase;
  const char* first;
  const char* second;
};
constexpr Column kColumns[] = {{"load", "load", ""},
                               {"forward", "forward", ""},
                               {"first_backward", "first", "backward"},
                               {"norms", "norms", ""},
                               {"coefficients", "coeffi-", "cients"},
                               {"second_backward", "second", "backward"},
                               {"weight_gradients", "weight", "grads"},
                               {"fold", "fold", ""},
                               {"gather", "gather", ""},
                               {"reduce", "reduce", ""},
                               {"release", "release", ""},
                               {"update", "noise,", "optim."},
                               {"sampling", "samp-", "ling"}};

// Phases shorter than this in every mode get no column.
constexpr double kShownSeconds = 5e-5;

bool IsShown(const std::vector<ModeProfile>& profiles, const Column& column) {
  return std::any_of(profiles.begin(), profiles.end(), [&](const ModeProfile& profile) {
    return profile.Seconds(column.phase) >= kShownSeconds;
  });
}

double PhaseSum(const ModeProfile& profile) {
  double sum = 0;
  for (const RecordedPhase& phase : profile.phases) sum += phase.seconds;
  return sum;
}

const ModeProfile* FindBaseline(const std::vector<ModeProfile>& profiles) {
  for (const ModeProfile& profile : profiles) {
    if (profile.mode.name == "no_dp" && profile.status.ok()) return &profile;
  }
  return nullptr;
}

double Mebibytes(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

// Of a worker without a coordinator, as the profiled processes are.
int64_t PlannedBytes(const ModeProfile& profile) {
  return profile.plan.memory().total_bytes() - layout::kControlBytes;
}

// What the allocator's high-water mark is compared with.
int64_t PlannedTensorBytes(const v1::MemoryPlan& memory) {
  return memory.parameters_bytes() + memory.gradient_bytes() + memory.optimizer_bytes() +
         memory.slots_bytes() + memory.activations_bytes() + memory.held_gradients_bytes() +
         memory.workspace_bytes();
}

// What a rank receives in a step.
int64_t ReceivedBytes(const v1::JobPlan& plan) {
  const int64_t micro_batches = static_cast<int64_t>(
      std::ceil(plan.train().expected_batch_size() / plan.train().micro_batch_size() /
                plan.sharding().world_size()));
  return micro_batches * plan.sharding().bytes_per_micro_batch() + plan.sharding().bytes_per_step();
}

std::string TimeTable(const std::vector<ModeProfile>& profiles) {
  std::string first = absl::StrFormat("%-20s %8s", "milliseconds", "");
  std::string second = absl::StrFormat("%-20s %8s", "mode", "step");
  for (const Column& column : kColumns) {
    if (!IsShown(profiles, column)) continue;
    absl::StrAppendFormat(&first, " %8s", column.first);
    absl::StrAppendFormat(&second, " %8s", column.second);
  }
  std::string text =
      absl::StrFormat("%s %8s %8s\n%s %8s %8s\n", first, "other", "of", second, "", "no_dp");
  const ModeProfile* baseline = FindBaseline(profiles);
  for (const ModeProfile& profile : profiles) {
    if (!profile.status.ok()) {
      absl::StrAppendFormat(&text, "%-20s FAILED: %s\n", profile.mode.Label(),
                            profile.status.message());
      continue;
    }
    absl::StrAppendFormat(&text, "%-20s %8.1f", profile.mode.Label(), 1e3 * profile.step_seconds);
    for (const Column& column : kColumns) {
      if (!IsShown(profiles, column)) continue;
      absl::StrAppendFormat(&text, " %8.1f", 1e3 * profile.Seconds(column.phase));
    }
    absl::StrAppendFormat(&text, " %8.1f %8s\n", 1e3 * (profile.step_seconds - PhaseSum(profile)),
                          baseline == nullptr ? "-"
                                              : absl::StrFormat("%.2f", baseline->step_seconds /
                                                                            profile.step_seconds));
  }
  return text;
}

// What lives while a phase runs, whoever made it: the highest is the mode's peak.
std::string PhaseMemoryTable(const std::vector<ModeProfile>& profiles) {
  std::string first = absl::StrFormat("%-20s", "MiB of tensors");
  std::string second = absl::StrFormat("%-20s", "at most, in");
  for (const Column& column : kColumns) {
    if (!IsShown(profiles, column)) continue;
    absl::StrAppendFormat(&first, " %8s", column.first);
    absl::StrAppendFormat(&second, " %8s", column.second);
  }
  std::string text = absl::StrCat(first, "\n", second, "\n");
  for (const ModeProfile& profile : profiles) {
    if (!profile.status.ok()) continue;
    absl::StrAppendFormat(&text, "%-20s", profile.mode.Label());
    for (const Column& column : kColumns) {
      if (!IsShown(profiles, column)) continue;
      if (profile.Count(column.phase) == 0) {
        absl::StrAppendFormat(&text, " %8s", "-");
      } else {
        absl::StrAppendFormat(&text, " %8.1f", Mebibytes(profile.TensorPeakBytes(column.phase)));
      }
    }
    text += "\n";
  }
  return text;
}

std::string MemoryTable(const std::vector<ModeProfile>& profiles) {
  std::string text = absl::StrFormat(
      "%-20s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s\n"
      "%-20s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s %8s\n",
      "MiB of a rank", "para-", "grad-", "opti-", "slots", "activa-", "held", "work-", "tensors",
      "tensors", "commu-", "base", "margin", "plan", "resident", "received", "mode", "meters",
      "ients", "mizer", "", "tions", "grads", "space", "planned", "measured", "nicator", "", "",
      "at most", "peak", "a step");
  for (const ModeProfile& profile : profiles) {
    if (!profile.status.ok()) continue;
    const v1::MemoryPlan& memory = profile.plan.memory();
    absl::StrAppendFormat(&text, "%-20s", profile.mode.Label());
    for (const int64_t bytes :
         {memory.parameters_bytes(), memory.gradient_bytes(), memory.optimizer_bytes(),
          memory.slots_bytes(), memory.activations_bytes(), memory.held_gradients_bytes(),
          memory.workspace_bytes(), PlannedTensorBytes(memory), profile.tensor_peak_bytes,
          memory.communicator_bytes(), memory.baseline_bytes() - layout::kControlBytes,
          memory.fragmentation_bytes(), PlannedBytes(profile), profile.peak_bytes,
          ReceivedBytes(profile.plan)}) {
      absl::StrAppendFormat(&text, " %8.1f", Mebibytes(bytes));
    }
    text += "\n";
  }
  return text;
}

std::string Heading(const ProfileOptions& options, const std::vector<ModeProfile>& profiles) {
  const RunSettings& settings = options.settings;
  int64_t parameters = 0;
  int threads = 0;
  for (const ModeProfile& profile : profiles) {
    if (!profile.status.ok()) continue;
    parameters = profile.plan.train().parameters();
    threads = profile.plan.sharding().threads_per_rank();
  }
  return absl::StrFormat(
      "%s parameters, %g examples of %d tokens a step in micro-batches of %d, %d rank%s of %d "
      "thread%s, %s, clip norm %g;\nmeans of the faster half of %d steps, in %d rounds in which "
      "the "
      "modes take turns\n\n",
      absl::StrCat(parameters), settings.batch, settings.length, settings.micro_batch,
      settings.world_size, settings.world_size == 1 ? "" : "s", threads, threads == 1 ? "" : "s",
      v1::Strategy_Name(settings.strategy), settings.clip_norm, options.rounds * settings.steps,
      options.rounds);
}

}  // namespace

json ProfileJson(const ProfileOptions& options, const std::vector<ModeProfile>& profiles) {
  const RunSettings& settings = options.settings;
  json report = {{"command", "profile"},
                 {"model", settings.model.ShortDebugString()},
                 {"length", settings.length},
                 {"batch", settings.batch},
                 {"micro_batch", settings.micro_batch},
                 {"world_size", settings.world_size},
                 {"strategy", v1::Strategy_Name(settings.strategy)},
                 {"clip_norm", settings.clip_norm},
                 {"steps", settings.steps},
                 {"rounds", options.rounds}};
  for (const ModeProfile& profile : profiles) {
    json row = {{"mode", profile.mode.name}, {"deferred_norms", profile.mode.deferred_norms}};
    if (!profile.status.ok()) {
      row["error"] = std::string(profile.status.message());
      report["modes"].push_back(std::move(row));
      continue;
    }
    row["step_seconds"] = profile.step_seconds;
    for (const RecordedPhase& phase : profile.phases) {
      row["phases"][phase.name] = {{"seconds", phase.seconds},
                                   {"count", phase.count},
                                   {"tensor_peak_bytes", phase.tensor_peak_bytes}};
    }
    const v1::MemoryPlan& memory = profile.plan.memory();
    row["planned_bytes"] = {{"parameters", memory.parameters_bytes()},
                            {"gradient", memory.gradient_bytes()},
                            {"optimizer", memory.optimizer_bytes()},
                            {"slots", memory.slots_bytes()},
                            {"activations", memory.activations_bytes()},
                            {"held_gradients", memory.held_gradients_bytes()},
                            {"workspace", memory.workspace_bytes()},
                            {"communicator", memory.communicator_bytes()},
                            {"baseline", memory.baseline_bytes() - layout::kControlBytes},
                            {"fragmentation", memory.fragmentation_bytes()},
                            {"tensors", PlannedTensorBytes(memory)},
                            {"total", PlannedBytes(profile)}};
    row["peak_bytes"] = profile.peak_bytes;
    row["tensor_peak_bytes"] = profile.tensor_peak_bytes;
    row["received_bytes_per_step"] = ReceivedBytes(profile.plan);
    report["modes"].push_back(std::move(row));
  }
  for (const Deferral& deferral : FindDeferrals(profiles)) {
    report["deferred_norms"].push_back(DeferralJson(deferral));
  }
  return report;
}

std::string ProfileText(const ProfileOptions& options, const std::vector<ModeProfile>& profiles) {
  std::string text = absl::StrCat(Heading(options, profiles), TimeTable(profiles), "\n",
                                  PhaseMemoryTable(profiles), "\n", MemoryTable(profiles));
  for (const Deferral& deferral : FindDeferrals(profiles)) {
    absl::StrAppend(&text, "\n", DeferralText(deferral));
  }
  return text;
}

absl::Status WriteProfilePlot(const std::vector<ModeProfile>& profiles, const std::string& path) {
  constexpr const char* kColours[] = {"#bab0ac", "#4e79a7", "#a0cbe8", "#e15759", "#ff9d9a",
                                      "#76b7b2", "#59a14f", "#8cd17d", "#b6992d", "#f1ce63",
                                      "#b07aa1", "#d4a6c8", "#9c755f"};
  std::string data = "$times << EOD\n";
  int bars = 0;
  for (const ModeProfile& profile : profiles) {
    if (!profile.status.ok()) continue;
    absl::StrAppend(&data, GnuplotDoubleQuoted(profile.mode.Label()));
    for (const Column& column : kColumns) {
      absl::StrAppendFormat(&data, " %.6f", 1e3 * profile.Seconds(column.phase));
    }
    absl::StrAppendFormat(&data, " %.6f\n",
                          1e3 * std::max(0.0, profile.step_seconds - PhaseSum(profile)));
    ++bars;
  }
  if (bars == 0) return absl::OkStatus();
  std::vector<std::string> parts;
  int column = 2;
  for (const Column& phase : kColumns) {
    std::string title = phase.phase;
    std::replace(title.begin(), title.end(), '_', ' ');
    if (IsShown(profiles, phase)) {
      parts.push_back(absl::StrFormat("$times using %d:xtic(1) lc rgb '%s' title '%s'", column,
                                      kColours[column - 2], title));
    }
    ++column;
  }
  parts.push_back(
      absl::StrFormat("$times using %d:xtic(1) lc rgb '#e4e4e4' title 'other'", column));
  return RunGnuplot(absl::StrCat(
                        "set terminal pngcairo size 1100,620 enhanced font 'Sans,11' background "
                        "'#ffffff'\nset output ",
                        GnuplotQuoted(path), "\n", data,
                        "EOD\nset border 3 lc rgb '#606060'\nset tics nomirror\nset grid ytics lc "
                        "rgb '#e4e4e4' lt 1\nset key outside right top Left reverse invert "
                        "noenhanced\nset style data histograms\nset style histogram rowstacked\n"
                        "set style fill solid 0.9 noborder\nset boxwidth 0.7\nset yrange [0:*]\n"
                        "set xtics rotate by 35 right noenhanced\nset bmargin 8\nset ylabel "
                        "'milliseconds of a step, rank 0'\nset title 'Where a step goes, by "
                        "gradient mode' font 'Sans,13'\nplot ",
                        absl::StrJoin(parts, ", "), "\n"))
      .status();
}

}  // namespace sotto::check
