#include "client/cli/inference_job.h"

#include <filesystem>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/follow.h"
#include "client/cli/strategy_option.h"
#include "client/cli/validators.h"
#include "common/base/status_macros.h"

namespace sotto::cli {
namespace {

// The coordinator's current folder is not ours.
std::string Absolute(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}

absl::StatusOr<v1::JobSpec> MakeSpec(const InferenceOptions& options, v1::InferenceSpec inference) {
  if (options.model.empty() == options.job.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the model must be named by --model or by --job, but ",
                     options.model.empty() ? "neither is given" : "both are given"));
  }
  v1::JobSpec spec;
  if (!options.model.empty()) {
    spec.mutable_model()->set_hugging_face_directory(Absolute(options.model));
  }
  inference.set_checkpoint_of_job(options.job);
  inference.set_prompt_file(Absolute(options.prompts));
  inference.set_output(Absolute(options.out));
  inference.set_batch_size(options.batch_size);
  *spec.mutable_inference() = std::move(inference);
  v1::WorkersSpec& workers = *spec.mutable_workers();
  workers.set_count(options.workers);
  workers.set_shard_group_size(options.shard_group_size);
  workers.set_gathered_slots(options.gathered_slots);
  ASSIGN_OR_RETURN(const v1::Strategy strategy, ParseStrategy(options.strategy));
  workers.set_strategy(strategy);
  return spec;
}

}  // namespace

void AddInferenceOptions(CLI::App& verb, bool reads_prompts, const std::string& out_help,
                         InferenceOptions& options) {
  verb.add_option("--model", options.model, "Hugging Face directory of the model");
  verb.add_option("--job", options.job, "the job whose newest checkpoint is the model");
  if (reads_prompts) {
    verb.add_option("--prompts", options.prompts, "JSON lines; public, never a registered dataset")
        ->required();
    verb.add_option("--batch_size", options.batch_size,
                    "prompts read together over all workers; unset: 8")
        ->check(AtLeast(1));
  }
  verb.add_option("--out", options.out, absl::StrCat(out_help, "; must not exist"))->required();
  verb.add_option("--workers", options.workers, "ranks that the model is sharded over")
      ->capture_default_str()
      ->check(AtLeast(1));
  AddSlots(verb, options.slots);
  AddStrategy(verb, options.strategy);
  verb.add_option("--shard_group_size", options.shard_group_size,
                  "ranks of a shard group (HYBRID_SHARD)")
      ->check(AtLeast(1));
  verb.add_option("--gathered_slots", options.gathered_slots, "blocks gathered at once per rank")
      ->check(AtLeast(1));
  verb.add_flag("--steward", options.steward,
                "act as data steward: to read weights of a not-private job on data with a budget");
}

absl::Status RunInferenceJob(const InferenceOptions& options, v1::InferenceSpec inference,
                             Context& context) {
  v1::SubmitJobRequest request;
  ASSIGN_OR_RETURN(*request.mutable_spec(), MakeSpec(options, std::move(inference)));
  request.set_steward(options.steward);
  ASSIGN_OR_RETURN(Session session, context.ConnectOrStartForJob(options.slots));
  ASSIGN_OR_RETURN(const v1::SubmitJobResponse response, session.client->Submit(request));
  RETURN_IF_ERROR(
      Follow({.id = response.job().id(), .cancels_on_interrupt = true}, session, context));
  if (context.exit_code == client::ExitCode::kOk && !context.IsMachineReadable()) {
    context.out << "wrote " << response.job().plan().spec().inference().output() << std::endl;
  }
  return absl::OkStatus();
}

}  // namespace sotto::cli
