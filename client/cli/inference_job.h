// What the verbs generate, score, capture and edit share: a job that reads a model, submitted and
// watched to its end.
#ifndef SOTTO_CLIENT_CLI_INFERENCE_JOB_H_
#define SOTTO_CLIENT_CLI_INFERENCE_JOB_H_

#include <string>

#include "absl/status/status.h"
#include "client/cli/context.h"
#include "proto/sotto/v1/spec.pb.h"

namespace CLI {
class App;
}

namespace sotto::cli {

struct InferenceOptions {
  std::string model;    // Hugging Face directory
  std::string job;      // or the job whose newest checkpoint it is
  std::string prompts;  // not of edit
  std::string out;
  std::string strategy;
  int workers = 1;
  int slots = 0;  // of a coordinator that is started; 0: one per core
  int shard_group_size = 0;
  int gathered_slots = 0;
  int batch_size = 0;
  bool steward = false;
};

// Adds --model, --job, --out and the options of workers; with `reads_prompts` also --prompts and
// --batch_size. `out_help` says what --out is. Borrows `options` until the verb has run.
void AddInferenceOptions(CLI::App& verb, bool reads_prompts, const std::string& out_help,
                         InferenceOptions& options);

// Makes the paths absolute, fills `spec` (whose kind is set) and workers into a job, hands it to
// the coordinator (one of options.slots is started when none runs on the state folder), watches it
// and says what was written. INVALID_ARGUMENT: not exactly one of --model and --job, no strategy of
// that name. Else errors of JobClient::Submit and Watch.
absl::Status RunInferenceJob(const InferenceOptions& options, v1::InferenceSpec spec,
                             Context& context);

}  // namespace sotto::cli

#endif  // SOTTO_CLIENT_CLI_INFERENCE_JOB_H_
