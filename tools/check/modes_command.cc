#include "tools/check/modes_command.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "tools/check/arguments.h"
#include "tools/check/mode_comparison.h"
#include "tools/check/mode_json.h"
#include "tools/check/mode_plots.h"
#include "tools/check/mode_report.h"
#include "tools/check/number_range.h"

namespace sotto::check {
namespace {

// What the command line says; unset: the preset's.
struct Arguments {
  std::string preset = "default";
  std::string out;
  std::string model;
  std::optional<int32_t> length, records, micro_batch;
  std::optional<int64_t> steps;
  std::optional<double> batch, clip_norm, noise_multiplier, learning_rate;
  std::optional<uint64_t> seed;
  std::optional<int> world_size;
  std::string strategy;
  std::vector<std::string> modes;
  bool checkpoints = false;
  bool no_plots = false;
};

template <typename T, typename U>
void Override(const std::optional<T>& value, U& setting) {
  if (value.has_value()) setting = *value;
}

absl::StatusOr<Preset> PresetOf(const Arguments& arguments) {
  ASSIGN_OR_RETURN(Preset preset, FindPreset(arguments.preset));
  RunSettings& settings = preset.settings;
  if (!arguments.model.empty()) {
    ASSIGN_OR_RETURN(settings.model, ParseModel(arguments.model));
  }
  if (!arguments.strategy.empty()) {
    ASSIGN_OR_RETURN(settings.strategy, ParseStrategyOfSpec(arguments.strategy));
  }
  Override(arguments.length, settings.length);
  Override(arguments.micro_batch, settings.micro_batch);
  Override(arguments.steps, settings.steps);
  Override(arguments.batch, settings.batch);
  if (arguments.batch) {
    settings.records = std::max(settings.records, static_cast<int32_t>(2 * *arguments.batch));
  }
  Override(arguments.records, settings.records);
  Override(arguments.noise_multiplier, settings.noise_multiplier);
  Override(arguments.learning_rate, settings.learning_rate);
  Override(arguments.seed, settings.seed);
  Override(arguments.world_size, settings.world_size);
  Override(arguments.clip_norm, settings.clip_norm);
  if (arguments.clip_norm) {
    RETURN_IF_ERROR(CheckClipNorm(*arguments.clip_norm));
    preset.clips_half = false;
    preset.clip_norm_given = true;
  }
  if (!arguments.modes.empty()) {
    ASSIGN_OR_RETURN(preset.modes, ParseModes(arguments.modes));
  }
  return preset;
}

int TerminalColumns() {
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40;
  return known ? std::min<int>(size.ws_col, 120) : 100;
}

void PrintTerminalPlots(const ModeComparison& comparison) {
  const absl::StatusOr<std::string> plots = TerminalModePlots(comparison, TerminalColumns());
  if (plots.ok()) {
    std::cout << *plots << "\n";
  } else {
    std::cerr << "sotto-check: no plots: " << plots.status().message() << "\n";
  }
}

// report.json, metrics/LABEL.json, summary.txt and, with gnuplot, the PNGs.
absl::Status WriteOut(const ModeComparison& comparison, const std::string& text,
                      const Arguments& arguments) {
  RETURN_IF_ERROR(AtomicWriteFile(arguments.out + "/report.json",
                                  ReportJson(comparison).dump(1) + "\n", /*mode=*/0644));
  RETURN_IF_ERROR(AtomicWriteFile(arguments.out + "/summary.txt", text, /*mode=*/0644));
  RETURN_IF_ERROR(MakeOutFolder(arguments.out + "/metrics"));
  for (const ModeOutcome& outcome : comparison.outcomes) {
    RETURN_IF_ERROR(
        AtomicWriteFile(absl::StrCat(arguments.out, "/metrics/", outcome.mode.Label(), ".json"),
                        MetricsJson(outcome).dump(1) + "\n", /*mode=*/0644));
  }
  std::cerr << "wrote " << arguments.out << "/report.json, metrics/, summary.txt";
  if (!arguments.no_plots) {
    const absl::StatusOr<std::vector<std::string>> plots =
        WriteModePlots(comparison, arguments.out);
    if (!plots.ok()) {
      std::cerr << "\n";
      return plots.status();
    }
    for (const std::string& path : *plots) {
      std::cerr << ", " << std::filesystem::path(path).filename().string();
    }
  }
  std::cerr << "\n";
  return absl::OkStatus();
}

// Only where a checkpoint is asked for is there one: they are large.
std::string CheckpointFolder(const Arguments& arguments) {
  const bool saves = arguments.checkpoints || arguments.preset == "seed000";
  return saves && !arguments.out.empty() ? arguments.out + "/checkpoints" : "";
}

int CheckModes(const Arguments& arguments) {
  // Before minutes of work, not after.
  if (!arguments.out.empty()) {
    if (const absl::Status status = MakeOutFolder(arguments.out); !status.ok()) return Fail(status);
  }
  const absl::StatusOr<Preset> preset = PresetOf(arguments);
  if (!preset.ok()) return Fail(preset.status());
  const absl::StatusOr<ModeComparison> comparison =
      CompareModes(*preset, CheckpointFolder(arguments),
                   [](const std::string& line) { std::cerr << line << std::endl; });
  if (!comparison.ok()) return Fail(comparison.status());
  const std::string text = ReportText(*comparison);
  std::cerr << std::endl;
  if (!arguments.no_plots) PrintTerminalPlots(*comparison);
  std::cout << text << std::flush;
  if (!arguments.out.empty()) {
    if (const absl::Status status = WriteOut(*comparison, text, arguments); !status.ok()) {
      return Fail(status);
    }
  }
  return comparison->Agrees() ? kAgrees : kDiffers;
}

void AddOptions(CLI::App& modes, Arguments& arguments) {
  modes.add_option("--preset", arguments.preset, "default, quick, seed000 or seed002")
      ->capture_default_str();
  modes.add_option("--out", arguments.out, "folder for report.json, summary.txt and PNG plots");
  modes.add_option("--modes", arguments.modes, "only these, such as flash,flash+deferred,auto")
      ->delimiter(',');
  modes.add_option("--model", arguments.model, "a job spec's file, or its model as text");
  modes.add_option("--length", arguments.length, "tokens of the longest record")
      ->check(CLI::Range(2, 65536));
  modes.add_option("--records", arguments.records, "of the random data set")
      ->check(CLI::Range(2, 1 << 20));
  modes.add_option("--batch", arguments.batch, "expected examples of a step")
      ->check(NumberIn(0.01, 1 << 19));
  modes.add_option("--micro_batch", arguments.micro_batch, "examples of one forward and backward")
      ->check(CLI::Range(1, 1024));
  modes.add_option("--steps", arguments.steps)->check(CLI::Range(1, 100000));
  modes.add_option("--learning_rate", arguments.learning_rate, "of SGD")
      ->check(NumberIn(kSmallestLearningRate, kLargestLearningRate));
  modes.add_option("--clip_norm", arguments.clip_norm, "instead of one that clips half")
      ->check(NumberIn(kSmallestClipNorm, kLargestClipNorm));
  modes.add_option("--noise_multiplier", arguments.noise_multiplier)
      ->check(NumberIn(0, kLargestNoiseMultiplier));
  modes.add_option("--seed", arguments.seed, "of data, initial values, sampling and noise");
  modes.add_option("--world_size", arguments.world_size, "ranks, each a process")
      ->check(CLI::Range(1, 16));
  modes.add_option("--strategy", arguments.strategy,
                   "FULL_SHARD, SHARD_GRAD_OP, HYBRID_SHARD or NO_SHARD");
  modes.add_flag("--checkpoints", arguments.checkpoints,
                 "keep each mode's checkpoint below --out (seed000 always does)");
  modes.add_flag("--no_plots", arguments.no_plots, "neither PNG nor terminal plots");
}

}  // namespace

Command AddModesCommand(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App& modes = *app.add_subcommand(
      "modes",
      "trains every gradient mode on the same model, data and seed, and compares losses and "
      "gradient norms with one another and with an fp64 oracle");
  AddOptions(modes, *arguments);
  modes.footer(
      "Examples:\n"
      "  sotto-check modes --preset quick                     key modes, about 10 s\n"
      "  sotto-check modes --out modes                        every mode, with report and plots\n"
      "  sotto-check modes --modes no_dp,flash,auto --world_size 4 --strategy NO_SHARD\n"
      "  sotto-check modes --model '{gpt2: {vocabulary_size: 257, width: 64, layers: 2, heads: 4,\n"
      "                              max_length: 128}}' --length 128 --batch 8 --steps 5\n"
      "Exit code 0: every mode agrees; 1: one differs or failed; 2: bad arguments, or nothing to "
      "compare.");
  return {.app = &modes, .run = [arguments] { return CheckModes(*arguments); }};
}

}  // namespace sotto::check
