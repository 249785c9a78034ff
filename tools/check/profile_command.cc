#include "tools/check/profile_command.h"

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "tools/check/arguments.h"
#include "tools/check/number_range.h"
#include "tools/check/preset.h"
#include "tools/check/profile_report.h"

namespace sotto::check {
namespace {

struct Arguments {
  ProfileOptions options;
  std::string model;
  std::string strategy;
  std::string out;
  std::vector<std::string> modes;
};

RunSettings DefaultSettings() {
  RunSettings settings{.length = 128,
                       .batch = 8,
                       .micro_batch = 4,
                       .steps = 4,
                       .learning_rate = 1e-3,
                       .world_size = 1};
  v1::Gpt2Spec& gpt2 = *settings.model.mutable_gpt2();
  gpt2.set_vocabulary_size(2048);
  gpt2.set_width(192);
  gpt2.set_layers(6);
  gpt2.set_heads(4);
  gpt2.set_max_length(128);
  gpt2.set_untied_head(true);
  return settings;
}

absl::Status Complete(Arguments& arguments) {
  RunSettings& settings = arguments.options.settings;
  settings.uses_adamw = true;
  RETURN_IF_ERROR(CheckClipNorm(settings.clip_norm));
  if (!arguments.model.empty()) {
    ASSIGN_OR_RETURN(settings.model, ParseModel(arguments.model));
  }
  if (!arguments.strategy.empty()) {
    ASSIGN_OR_RETURN(settings.strategy, ParseStrategyOfSpec(arguments.strategy));
  }
  arguments.options.modes = AllModes();
  if (!arguments.modes.empty()) {
    ASSIGN_OR_RETURN(arguments.options.modes, ParseModes(arguments.modes));
  }
  return arguments.out.empty() ? absl::OkStatus() : MakeOutFolder(arguments.out);
}

absl::Status WriteOut(const Arguments& arguments, const std::vector<ModeProfile>& profiles,
                      const std::string& text) {
  const std::string& out = arguments.out;
  RETURN_IF_ERROR(AtomicWriteFile(out + "/profile.json",
                                  ProfileJson(arguments.options, profiles).dump(1) + "\n", 0644));
  RETURN_IF_ERROR(AtomicWriteFile(out + "/profile.txt", text, 0644));
  RETURN_IF_ERROR(WriteProfilePlot(profiles, out + "/profile.png"));
  std::cerr << "wrote " << out << "/profile.json, profile.txt, profile.png\n";
  return absl::OkStatus();
}

int Profile(Arguments& arguments) {
  if (const absl::Status status = Complete(arguments); !status.ok()) return Fail(status);
  const absl::StatusOr<std::vector<ModeProfile>> profiles = ProfileModes(
      arguments.options, [](const std::string& line) { std::cerr << line << std::endl; });
  if (!profiles.ok()) return Fail(profiles.status());
  const std::string text = ProfileText(arguments.options, *profiles);
  std::cout << text << std::flush;
  if (!arguments.out.empty()) {
    if (const absl::Status status = WriteOut(arguments, *profiles, text); !status.ok()) {
      return Fail(status);
    }
  }
  for (const ModeProfile& profile : *profiles) {
    if (!profile.status.ok()) return kFailed;
  }
  return kAgrees;
}

}  // namespace

Command AddProfileCommand(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  RunSettings& settings = arguments->options.settings;
  settings = DefaultSettings();
  CLI::App& profile =
      *app.add_subcommand("profile", "time and bytes of each gradient mode by phase of a step");
  profile.add_option("--modes", arguments->modes, "only these, such as flash,flash+deferred,auto")
      ->delimiter(',');
  profile.add_option("--model", arguments->model, "a job spec's file, or its model as text")
      ->default_str("gpt2 of 4M parameters");
  profile.add_option("--length", settings.length, "tokens of every record")
      ->check(CLI::Range(2, 65536))
      ->capture_default_str();
  profile.add_option("--batch", settings.batch, "examples of a step")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  profile.add_option("--micro_batch", settings.micro_batch, "examples of one forward and backward")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  profile.add_option("--steps", settings.steps, "measured in each round, after one that is not")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  profile.add_option("--rounds", arguments->options.rounds, "the modes take turns")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  profile.add_option("--world_size", settings.world_size, "ranks, each a process")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  profile.add_option("--threads", settings.threads, "of a rank; 0: the cores over the ranks")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  profile.add_option("--clip_norm", settings.clip_norm)
      ->check(NumberIn(kSmallestClipNorm, kLargestClipNorm))
      ->capture_default_str();
  profile.add_option("--strategy", arguments->strategy,
                     "FULL_SHARD, SHARD_GRAD_OP, HYBRID_SHARD or NO_SHARD");
  profile.add_option("--out", arguments->out, "folder for profile.json, profile.txt, profile.png");
  profile.footer(
      "Examples:\n"
      "  sotto-check profile --modes no_dp,per_example,auto --out profile\n"
      "  sotto-check profile --modes flash,flash+deferred     what deferring the norms does");
  return {.app = &profile, .run = [arguments] { return Profile(*arguments); }};
}

}  // namespace sotto::check
