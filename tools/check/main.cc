// sotto-check: flags and tables only.
#include <iostream>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "tools/check/mode_check.h"
#include "tools/check/world_check.h"

namespace sotto::check {
namespace {

constexpr int kAgrees = 0;
constexpr int kDiffers = 1;
constexpr int kFailed = 2;

void AddShapeOptions(CLI::App& command, ModelShape& shape) {
  command.add_option("--vocabulary_size", shape.vocabulary_size)->capture_default_str();
  command.add_option("--width", shape.width)->capture_default_str();
  command.add_option("--layers", shape.layers)->capture_default_str();
  command.add_option("--heads", shape.heads)->capture_default_str();
  command.add_option("--tokens", shape.tokens, "tokens per record")->capture_default_str();
  command.add_flag("--untied_head", shape.untied_head, "the head has a matrix of its own");
}

int Fail(const absl::Status& status) {
  std::cerr << "sotto-check: " << status.message() << "\n";
  return kFailed;
}

const char* Verdict(bool agrees) { return agrees ? "agrees" : "DIFFERS"; }

int CheckModes(const ModelShape& shape, int examples) {
  const absl::StatusOr<std::vector<ModeRow>> rows = CompareModes(shape, examples);
  if (!rows.ok()) return Fail(rows.status());
  std::cout << absl::StreamFormat("%-14s %-12s %-12s %-12s %s\n", "mode", "norm error", "sum error",
                                  "tokens/s", "against a loop over examples");
  int result = kAgrees;
  for (const ModeRow& row : *rows) {
    std::cout << absl::StreamFormat("%-14s %-12.2e %-12.2e %-12.0f %s\n", row.mode, row.norm_error,
                                    row.sum_error, row.tokens_per_second, Verdict(row.Agrees()));
    if (!row.Agrees()) result = kDiffers;
  }
  return result;
}

int CheckWorld(const WorldOptions& options) {
  const absl::StatusOr<std::vector<WorldRow>> rows = CompareWorldSizes(options);
  if (!rows.ok()) return Fail(rows.status());
  std::cout << absl::StreamFormat("%-6s %-22s %-9s %s\n", "ranks", "differing parameters",
                                  "seconds", "bit for bit");
  int result = kAgrees;
  for (const WorldRow& row : *rows) {
    std::cout << absl::StreamFormat("%-6d %-22d %-9.2f %s\n", row.world_size,
                                    row.differing_parameters, row.seconds, Verdict(row.Agrees()));
    if (!row.Agrees()) result = kDiffers;
  }
  return result;
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Checks what sotto computes against itself, on a small random model.\n"
      "Exit code 0: everything agrees; 1: something differs; 2: the check could not run.");
  app.require_subcommand(1);

  ModelShape shape;
  int examples = 8;
  CLI::App& modes = *app.add_subcommand(
      "modes", "every gradient mode against a loop over the examples, and their speed");
  AddShapeOptions(modes, shape);
  modes.add_option("--examples", examples, "in the micro-batch")->capture_default_str();
  modes.footer("Example: sotto-check modes --width 256 --layers 8 --tokens 128 --untied_head");

  WorldOptions options;
  CLI::App& world =
      *app.add_subcommand("world", "the same training at several world sizes, bit for bit");
  AddShapeOptions(world, options.shape);
  world.add_option("--ranks", options.world_sizes, "world sizes; the first is the reference")
      ->delimiter(',')
      ->capture_default_str();
  world.add_option("--mode", options.mode, "gradient mode")->capture_default_str();
  world.add_option("--steps", options.steps)->capture_default_str();
  world.add_option("--noise_multiplier", options.noise_multiplier)->capture_default_str();
  world.footer("Example: sotto-check world --ranks 1,2,4 --mode flash");

  CLI11_PARSE(app, argc, argv);
  SetMinLogSeverity(LogSeverity::kWARNING);
  return modes.parsed() ? CheckModes(shape, examples) : CheckWorld(options);
}

}  // namespace
}  // namespace sotto::check

int main(int argc, char** argv) { return sotto::check::Main(argc, argv); }
