#include "tools/check/gradients_command.h"

#include <iostream>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "tools/check/gradients_check.h"

namespace sotto::check {

Command AddGradientsCommand(CLI::App& app) {
  auto options = std::make_shared<GradientsOptions>();
  CLI::App& command = *app.add_subcommand(
      "gradients",
      "losses, gradient norms and the clipped sum of a public batch, for a Hugging Face model");
  command
      .add_option("--model", options->model,
                  "directory with config.json and safetensors (GPT-2, Llama)")
      ->required();
  command
      .add_option("--batch", options->batch,
                  "safetensors with tokens int64 [B,T] and loss_mask uint8 [B,T-1]")
      ->required();
  command.add_option("--mode", options->mode, "gradient mode")->required();
  command.add_option(
      "--clip_norm", options->clip_norm,
      "C, of one example's gradient, in [1e-12, 1e12]; no_dp clips nothing and needs none");
  command
      .add_option(
          "--out", options->out,
          "safetensors to write: loss [B], grad_norm [B], clipped.NAME (of no_dp: unclipped sums)")
      ->required();
  command.add_option("--dtype", options->dtype, "of the computation: fp32 or bf16")
      ->capture_default_str();
  command
      .add_option("--strategy", options->strategy,
                  "FULL_SHARD, SHARD_GRAD_OP, HYBRID_SHARD or NO_SHARD")
      ->capture_default_str();
  command.add_option("--world_size", options->world_size, "ranks")->capture_default_str();
  command.add_option("--shard_group_size", options->shard_group_size,
                     "ranks of a shard group (HYBRID_SHARD); 0: half of them");
  command.add_option("--micro_batch_size", options->micro_batch_size,
                     "examples at once; 0: chosen from the batch and the model");
  command.add_flag("--deferred_norms", options->deferred_norms,
                   "norms after the whole backward pass");
  command.footer(
      "Example: sotto-check gradients --model gpt2/ --batch batch.safetensors --mode per_example "
      "--clip_norm 1 --out gradients.safetensors");
  return {.app = &command, .run = [options] {
            const absl::Status status = WriteGradients(*options);
            if (!status.ok()) return Fail(status);
            const std::string remark = ClippingRemark(*options);
            if (!remark.empty()) std::cerr << "sotto-check: " << remark << std::endl;
            return kAgrees;
          }};
}

}  // namespace sotto::check
