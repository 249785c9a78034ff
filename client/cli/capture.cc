// sotto capture: the residual stream of prompts.
#include <memory>
#include <vector>

#include "CLI/CLI.hpp"
#include "client/cli/inference_job.h"
#include "client/cli/verbs.h"

namespace sotto::cli {
namespace {

struct CaptureOptions {
  InferenceOptions job;
  std::vector<int> layers;
};

}  // namespace

void AddCaptureVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<CaptureOptions>();
  CLI::App* verb = app.add_subcommand(
      "capture", "The residual stream of prompts after chosen blocks, in shards");
  verb->footer(
      "Writes a tensor prompt.P.layer.L [tokens, width] for each prompt and layer.\n"
      "Example: sotto capture --model llama/ --prompts prompts.jsonl --layers 0 6 12 --out "
      "residuals.safetensors");
  AddInferenceOptions(*verb, /*reads_prompts=*/true, "safetensors file to write", options->job);
  verb->add_option("--layers", options->layers, "blocks after which to capture; 0: the embeddings")
      ->required();
  verb->callback([options, &context] {
    v1::InferenceSpec spec;
    for (const int layer : options->layers) spec.mutable_capture()->add_layers(layer);
    context.Finish(RunInferenceJob(options->job, std::move(spec), context));
  });
}

}  // namespace sotto::cli
