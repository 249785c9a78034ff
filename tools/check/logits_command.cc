#include "tools/check/logits_command.h"

#include <memory>

#include "CLI/CLI.hpp"
#include "tools/check/logits_check.h"

namespace sotto::check {

Command AddLogitsCommand(CLI::App& app) {
  auto options = std::make_shared<LogitsOptions>();
  CLI::App& command = *app.add_subcommand(
      "logits", "logits of a public batch, for a Hugging Face model in shards; can write it back");
  command.add_option("--model", options->model, "directory with config.json and safetensors")
      ->required();
  command.add_option("--batch", options->batch, "safetensors with tokens int64 [B,T]")->required();
  command.add_option("--out", options->out, "safetensors to write: logits fp32 [B,T,V]")
      ->required();
  command.add_option("--save_model", options->save_model,
                     "also gather the model from its shards and write it as such a directory");
  command.add_option("--world_size", options->world_size, "ranks")->capture_default_str();
  command
      .add_option("--strategy", options->strategy,
                  "FULL_SHARD, SHARD_GRAD_OP, HYBRID_SHARD or NO_SHARD")
      ->capture_default_str();
  command.add_option("--shard_group_size", options->shard_group_size,
                     "ranks of a shard group (HYBRID_SHARD); 0: half of them");
  command.footer(
      "Example: sotto-check logits --model gpt2/ --batch batch.safetensors --world_size 2 "
      "--out logits.safetensors --save_model copy/");
  return {.app = &command, .run = [options] {
            const absl::Status status = WriteLogits(*options);
            return status.ok() ? kAgrees : Fail(status);
          }};
}

}  // namespace sotto::check
