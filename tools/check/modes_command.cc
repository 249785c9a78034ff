#include "tools/check/modes_command.h"

#include <iostream>
#include <memory>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "tools/check/mode_check.h"

namespace sotto::check {
namespace {

int CheckModes(const ModelShape& shape, int examples) {
  const absl::StatusOr<std::vector<ModeRow>> rows = CompareModes(shape, examples);
  if (!rows.ok()) return Fail(rows.status());
  std::cout << absl::StreamFormat("%-14s %-12s %-12s %-12s %s\n", "mode", "norm error", "sum error",
                                  "tokens/s", "against a loop over examples");
  int result = kAgrees;
  for (const ModeRow& row : *rows) {
    std::cout << absl::StreamFormat("%-14s %-12.2e %-12.2e %-12.0f %s\n", row.mode, row.norm_error,
                                    row.sum_error, row.tokens_per_second,
                                    row.Agrees() ? "agrees" : "DIFFERS");
    if (!row.Agrees()) result = kDiffers;
  }
  return result;
}

}  // namespace

Command AddModesCommand(CLI::App& app) {
  auto shape = std::make_shared<ModelShape>();
  auto examples = std::make_shared<int>(8);
  CLI::App& modes = *app.add_subcommand(
      "modes", "every gradient mode against a loop over the examples, and their speed");
  modes.add_option("--width", shape->width)->capture_default_str();
  modes.add_option("--examples", *examples, "in the micro-batch")->capture_default_str();
  return {.app = &modes, .run = [=] { return CheckModes(*shape, *examples); }};
}

}  // namespace sotto::check
