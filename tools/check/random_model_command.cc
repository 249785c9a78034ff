#include "tools/check/random_model_command.h"

#include <iostream>
#include <memory>

#include "CLI/CLI.hpp"
#include "tools/check/random_model.h"

namespace sotto::check {

Command AddRandomModelCommand(CLI::App& app) {
  auto options = std::make_shared<RandomModelOptions>();
  CLI::App& command = *app.add_subcommand(
      "random_model", "writes a model with random weights as a Hugging Face directory");
  command.add_option("--model", options->model, "a job spec's file, or its model as text")
      ->required();
  command.add_option("--out", options->out, "directory to write")->required();
  command.add_option("--dtype", options->dtype, "F32, BF16 or F16")->capture_default_str();
  command.add_option("--seed", options->seed, "of the weights")->capture_default_str();
  command.footer(
      "Example: sotto-check random_model --out llama-150m --model '{llama: {vocabulary_size: 257, "
      "width: 768, layers: 21, heads: 12, hidden_width: 2080, max_length: 512}}'");
  return {.app = &command, .run = [options] {
            const absl::StatusOr<int64_t> parameters = WriteRandomModel(*options);
            if (!parameters.ok()) return Fail(parameters.status());
            std::cout << "wrote " << *parameters << " parameters to " << options->out << std::endl;
            return kAgrees;
          }};
}

}  // namespace sotto::check
