// sotto generate: texts that continue prompts.
#include <memory>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/cli/inference_job.h"
#include "client/cli/validators.h"
#include "client/cli/verbs.h"

namespace sotto::cli {
namespace {

struct GenerateOptions {
  InferenceOptions job;
  int max_new_tokens = 0;
  double temperature = 0;
  int top_k = 0;
  double top_p = 0;
  std::vector<int> stop_tokens;
  uint64_t seed = 0;
};

v1::InferenceSpec SpecOf(const GenerateOptions& options) {
  v1::InferenceSpec spec;
  v1::GenerateSpec& generate = *spec.mutable_generate();
  generate.set_max_new_tokens(options.max_new_tokens);
  generate.set_temperature(options.temperature);
  generate.set_top_k(options.top_k);
  generate.set_top_p(options.top_p);
  for (const int token : options.stop_tokens) generate.add_stop_tokens(token);
  generate.set_seed(options.seed);
  return spec;
}

}  // namespace

void AddGenerateVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* verb = app.add_subcommand("generate", "Continue prompts with a model, in shards");
  verb->footer(
      "A line of the prompts is {\"tokens\": [1, 2]} or, for models of bytes, {\"text\": \"...\"}; "
      "one of the output\n{\"prompt\": 0, \"tokens\": [...], \"ended_by\": \"max_new_tokens\"}. "
      "Workers, strategy and batch size do not change it.\n"
      "Example: sotto generate --job job-1 --prompts prompts.jsonl --out texts.jsonl "
      "--temperature 0.8 --top_p 0.95 --stop 256");
  AddInferenceOptions(*verb, /*reads_prompts=*/true, "JSON lines to write", options->job);
  verb->add_option("--max_new_tokens", options->max_new_tokens,
                   "of each text; unset: 64, or what the model's positions leave")
      ->check(AtLeast(1));
  verb->add_option("--temperature", options->temperature, "unset or 0: the likeliest token")
      ->check(AtLeast(0));
  verb->add_option("--top_k", options->top_k, "draw from so many of the likeliest; unset: all")
      ->check(AtLeast(1));
  verb->add_option("--top_p", options->top_p,
                   "draw from the likeliest that add up to this probability; unset: 1")
      ->check(Must("in (0, 1]", [](double value) { return value > 0 && value <= 1; }));
  verb->add_option("--stop", options->stop_tokens, "tokens before which a text ends");
  verb->add_option("--seed", options->seed, "of the draws");
  verb->callback([options, &context] {
    context.Finish(RunInferenceJob(options->job, SpecOf(*options), context));
  });
}

}  // namespace sotto::cli
