#include "tools/check/world_command.h"

#include <iostream>
#include <memory>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
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
  auto options = std::make_shared<WorldOptions>();
  ModelShape& shape = options->shape;
  CLI::App& world =
      *app.add_subcommand("world", "the same training at several world sizes, bit for bit");
  world.add_option("--vocabulary_size", shape.vocabulary_size)->capture_default_str();
  world.add_option("--width", shape.width)->capture_default_str();
  world.add_option("--layers", shape.layers)->capture_default_str();
  world.add_option("--heads", shape.heads)->capture_default_str();
  world.add_option("--tokens", shape.tokens, "tokens per record")->capture_default_str();
  world.add_flag("--untied_head", shape.untied_head, "the head has a matrix of its own");
  world.add_option("--ranks", options->world_sizes, "world sizes; the first is the reference")
      ->delimiter(',')
      ->capture_default_str();
  world.add_option("--mode", options->mode, "gradient mode")->capture_default_str();
  world.add_option("--steps", options->steps)->capture_default_str();
  world.add_option("--noise_multiplier", options->noise_multiplier)->capture_default_str();
  world.footer("Example: sotto-check world --ranks 1,2,4 --mode flash");
  return {.app = &world, .run = [options] { return CheckWorld(*options); }};
}

}  // namespace sotto::check
