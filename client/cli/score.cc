// sotto score: log-probabilities of continuations.
#include <memory>

#include "CLI/CLI.hpp"
#include "client/cli/inference_job.h"
#include "client/cli/verbs.h"

namespace sotto::cli {

void AddScoreVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<InferenceOptions>();
  CLI::App* verb =
      app.add_subcommand("score", "Log-probabilities of continuations of prompts, in shards");
  verb->footer(
      "A line of the prompts is {\"tokens\": [1], \"continuation_tokens\": [2]} or {\"text\": "
      "\"...\", \"continuation\": \"...\"};\none of the output {\"prompt\": 0, "
      "\"log_probability\": -1.5, \"token_log_probabilities\": [...]}.\n"
      "Example: sotto score --model gpt2/ --prompts pairs.jsonl --out scores.jsonl --workers 2");
  AddInferenceOptions(*verb, /*reads_prompts=*/true, "JSON lines to write", *options);
  verb->callback([options, &context] {
    v1::InferenceSpec spec;
    spec.mutable_score();
    context.Finish(RunInferenceJob(*options, std::move(spec), context));
  });
}

}  // namespace sotto::cli
