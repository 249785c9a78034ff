#include "tools/check/equality_command.h"

#include <iostream>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "tools/check/arguments.h"
#include "tools/check/equality_report.h"
#include "tools/check/number_range.h"
#include "tools/check/preset.h"

namespace sotto::check {
namespace {

struct Arguments {
  EqualityOptions options;
  std::string preset = "seed001";
  std::string mode = "no_dp";
  std::string model;
  std::string out;
};

// The origin trains a small transformer of RMSNorm, SwiGLU and rotary positions, without biases. No
// parameter of it has a gradient that is zero but for rounding, which AdamW would blow up.
RunSettings Seed001() {
  RunSettings settings{
      .length = 16, .records = 32, .micro_batch = 4, .steps = 60, .learning_rate = 1e-2};
  v1::LlamaSpec& llama = *settings.model.mutable_llama();
  llama.set_vocabulary_size(64);
  llama.set_width(64);
  llama.set_layers(2);
  llama.set_heads(4);
  llama.set_hidden_width(160);
  llama.set_max_length(16);
  llama.set_untied_head(true);
  return settings;
}

absl::Status Complete(Arguments& arguments) {
  ASSIGN_OR_RETURN(arguments.options.mode, ParseMode(arguments.mode));
  if (!arguments.model.empty()) {
    ASSIGN_OR_RETURN(arguments.options.settings.model, ParseModel(arguments.model));
  }
  return arguments.out.empty() ? absl::OkStatus() : MakeOutFolder(arguments.out);
}

absl::Status WriteOut(const Arguments& arguments, const EqualityReport& report,
                      const std::string& text) {
  RETURN_IF_ERROR(AtomicWriteFile(arguments.out + "/equality.json",
                                  EqualityJson(report).dump(1) + "\n", /*mode=*/0644));
  RETURN_IF_ERROR(AtomicWriteFile(arguments.out + "/equality.txt", text, /*mode=*/0644));
  std::cerr << "wrote " << arguments.out << "/equality.json, equality.txt\n";
  return absl::OkStatus();
}

int CheckEquality(Arguments& arguments) {
  if (const absl::Status status = Complete(arguments); !status.ok()) return Fail(status);
  const absl::StatusOr<EqualityReport> report = CompareEquality(
      arguments.options, [](const std::string& line) { std::cerr << line << std::endl; });
  if (!report.ok()) return Fail(report.status());
  const std::string text = EqualityText(*report);
  std::cout << text << std::flush;
  if (!arguments.out.empty()) {
    if (const absl::Status status = WriteOut(arguments, *report, text); !status.ok()) {
      return Fail(status);
    }
  }
  return report->Agrees() ? kAgrees : kDiffers;
}

void AddOptions(CLI::App& equality, Arguments& arguments) {
  RunSettings& settings = arguments.options.settings;
  equality.add_option("--preset", arguments.preset, "what the other options change")
      ->check(CLI::IsMember({"seed001"}))
      ->capture_default_str();
  equality.add_option("--world_sizes", arguments.options.world_sizes, "the first is the reference")
      ->delimiter(',')
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  equality.add_option("--mode", arguments.mode, "gradient mode")->capture_default_str();
  equality.add_option("--model", arguments.model, "a job spec's file, or its model as text")
      ->default_str("llama of width 64, 2 layers");
  equality.add_option("--length", settings.length, "tokens of every record")
      ->check(CLI::Range(2, 65536))
      ->capture_default_str();
  equality.add_option("--records", settings.records, "a multiple of the micro-batch")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  equality
      .add_option("--micro_batch", settings.micro_batch, "examples of one forward and backward")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  equality.add_option("--steps", settings.steps, "on distinct records")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  equality.add_option("--learning_rate", settings.learning_rate, "on distinct records")
      ->check(NumberIn(kSmallestLearningRate, kLargestLearningRate))
      ->capture_default_str();
  equality
      .add_option("--same_steps", arguments.options.same_steps,
                  "with the same records on every rank")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  equality
      .add_option("--same_learning_rate", arguments.options.same_learning_rate,
                  "with the same records on every rank")
      ->check(NumberIn(kSmallestLearningRate, kLargestLearningRate))
      ->capture_default_str();
  equality.add_option("--clip_norm", settings.clip_norm, "of modes that clip")
      ->check(NumberIn(kSmallestClipNorm, kLargestClipNorm))
      ->capture_default_str();
  equality.add_option("--seed", settings.seed, "of data and initial values")->capture_default_str();
  equality.add_option("--out", arguments.out, "folder for equality.json and equality.txt");
}

}  // namespace

Command AddEqualityCommand(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  arguments->options.settings = Seed001();
  CLI::App& equality = *app.add_subcommand(
      "equality",
      "AdamW at several world sizes: the same records on every rank give the same model, distinct "
      "ones the same bits");
  AddOptions(equality, *arguments);
  equality.footer(
      "Examples:\n"
      "  sotto-check equality --preset seed001\n"
      "  sotto-check equality --mode flash --world_sizes 1,3 --out equality\n"
      "Exit code 0: all world sizes agree; 1: one differs; 2: bad arguments.");
  return {.app = &equality, .run = [arguments] { return CheckEquality(*arguments); }};
}

}  // namespace sotto::check
