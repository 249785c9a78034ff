// sotto edit: rank-one changes of matrices.
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "client/cli/inference_job.h"
#include "client/cli/verbs.h"

namespace sotto::cli {
namespace {

struct EditOptions {
  InferenceOptions job;
  std::string projections;
  double scale = 1;
};

}  // namespace

void AddEditVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<EditOptions>();
  CLI::App* verb = app.add_subcommand("edit",
                                      "Remove directions from chosen matrices, or add rank-one "
                                      "ones, shard by shard, and save the model");
  verb->footer(
      "The projections are a safetensors file with, for each matrix NAME, either\n"
      "  NAME.direction [outputs]                what the matrix puts out along it is removed: "
      "with "
      "v, the direction\n"
      "                                          at unit length, W - scale * v (v^T W)\n"
      "  NAME.left [rows], NAME.right [columns]  scale * left right^T is added\n"
      "Example: sotto edit --model llama/ --projections directions.safetensors --out edited/");
  AddInferenceOptions(*verb, /*reads_prompts=*/false, "Hugging Face directory to write",
                      options->job);
  verb->add_option("--projections", options->projections, "safetensors file")->required();
  verb->add_option("--scale", options->scale, "of every projection, not 0")
      ->capture_default_str()
      ->check([](const std::string& text) {
        return std::strtod(text.c_str(), nullptr) == 0 ? std::string("must not be 0") : "";
      });
  verb->callback([options, &context] {
    v1::InferenceSpec spec;
    spec.mutable_edit()->set_projections(
        std::filesystem::absolute(options->projections).lexically_normal().string());
    spec.mutable_edit()->set_scale(options->scale);
    context.Finish(RunInferenceJob(options->job, std::move(spec), context));
  });
}

}  // namespace sotto::cli
