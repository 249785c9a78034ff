#include "tools/check/world_command.h"

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "tools/check/arguments.h"
#include "tools/check/number_range.h"
#include "tools/check/preset.h"
#include "tools/check/world_check.h"

namespace sotto::check {
namespace {

int CheckWorld(const WorldOptions& options) {
  const absl::StatusOr<std::vector<WorldRow>> rows = CompareWorldSizes(options);
  if (!rows.ok()) return Fail(rows.status());
  std::cout << absl::StreamFormat("%-6s %-22s %-9s %s\n", "ranks", "differing parameters",
                                  "seconds", "bit for bit");
  int result = kAgrees;
  for (const WorldRow& row : *rows) {
    std::cout << absl::StreamFormat("%-6d %-22d %-9.2f %s\n", row.world_size,
                                    row.differing_parameters, row.seconds,
                                    row.Agrees() ? "agrees" : "DIFFERS");
    if (!row.Agrees()) result = kDiffers;
  }
  return result;
}

}  // namespace

Command AddWorldCommand(CLI::App& app) {
  struct Arguments {
    WorldOptions options;
    std::string mode = "per_example";
  };
  auto arguments = std::make_shared<Arguments>();
  RunSettings& settings = arguments->options.settings;
  settings = {.records = 64,
              .batch = 32,
              .micro_batch = 3,
              .steps = 3,
              .uses_adamw = true,
              .learning_rate = 1e-3,
              .noise_multiplier = 1};
  v1::Gpt2Spec& gpt2 = *settings.model.mutable_gpt2();
  gpt2.set_vocabulary_size(257);
  gpt2.set_width(64);
  gpt2.set_layers(2);
  gpt2.set_heads(4);
  gpt2.set_max_length(64);

  CLI::App& world =
      *app.add_subcommand("world", "the same training at several world sizes, bit for bit");
  world
      .add_option_function<std::string>(
          "--model",
          [&settings](const std::string& text) {
            const absl::StatusOr<v1::ModelSpec> model = ParseModel(text);
            if (!model.ok()) throw CLI::ValidationError(std::string(model.status().message()));
            settings.model = *model;
          },
          "a job spec's file, or its model as text")
      ->default_str("gpt2 of width 64, 2 layers");
  world.add_option("--length", settings.length, "tokens of the longest record")
      ->check(CLI::Range(2, 65536))
      ->capture_default_str();
  world.add_option("--ranks", arguments->options.world_sizes, "the first is the reference")
      ->delimiter(',')
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  world.add_option("--mode", arguments->mode, "gradient mode")->capture_default_str();
  world.add_option("--steps", settings.steps)->check(CLI::Range(1, 100000))->capture_default_str();
  world.add_option("--noise_multiplier", settings.noise_multiplier)
      ->check(NumberIn(0, kLargestNoiseMultiplier))
      ->capture_default_str();
  world.footer("Example: sotto-check world --ranks 1,2,4 --mode flash");
  return {.app = &world, .run = [arguments] {
            const absl::StatusOr<ModeChoice> mode = ParseMode(arguments->mode);
            if (!mode.ok()) return Fail(mode.status());
            arguments->options.mode = *mode;
            return CheckWorld(arguments->options);
          }};
}

}  // namespace sotto::check
