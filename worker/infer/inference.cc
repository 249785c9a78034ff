#include "worker/infer/inference.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/dataset/prompt_file.h"
#include "common/layout/strategy.h"
#include "common/spec/model_layout.h"
#include "worker/infer/capturer.h"
#include "worker/infer/editor.h"
#include "worker/infer/generator.h"
#include "worker/infer/line_output.h"
#include "worker/infer/model_saver.h"
#include "worker/infer/save_plan.h"
#include "worker/infer/scorer.h"
#include "worker/infer/sharded_model.h"
#include "worker/infer/task.h"
#include "worker/train/agreement.h"
#include "worker/train/initial_weights.h"
#include "worker/train/torch_errors.h"

namespace sotto::infer {
namespace {

constexpr int64_t kByteVocabulary = 257;  // 256 bytes and the end of a record

// Removes a folder that holds a model as it is written here and nothing else.
void RemoveModel(const std::string& directory) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file(error)) return;
    if (!IsOfModel(name)) return;
  }
  if (!error) std::filesystem::remove_all(directory, error);
}

class Inference {
 public:
  Inference(const v1::JobPlan& plan, comm::Communicator& communicator, const Options& options)
      : plan_(plan), communicator_(communicator), options_(options) {}

  absl::StatusOr<Outcome> Run() {
    RETURN_IF_ERROR(train::CheckRanksAgree(communicator_, "plan", plan_.SerializeAsString()));
    if (!options_.may_replace_output) RETURN_IF_ERROR(CheckIsFree(spec().output()));
    // Nobody writes before everybody has looked.
    RETURN_IF_ERROR(communicator_.Barrier());
    RETURN_IF_ERROR(Load());
    return spec().has_edit() ? Edit() : Read();
  }

 private:
  const v1::InferenceSpec& spec() const { return plan_.spec().inference(); }

  std::string Unfinished() const {
    return options_.job.empty() ? spec().output()
                                : absl::StrCat(spec().output(), ".", options_.job);
  }

  absl::Status Load() {
    ASSIGN_OR_RETURN(layout::ModelDescription description,
                     spec::DescribeModel(plan_.spec().model()));
    if (!spec().has_edit()) RETURN_IF_ERROR(MaxLengthOf(description).status());
    const v1::ShardingPlan& sharding = plan_.sharding();
    const std::optional<layout::Strategy> strategy =
        layout::FindStrategy(v1::Strategy_Name(sharding.strategy()));
    ASSIGN_OR_RETURN(
        model_, ShardedModel::Create({.description = std::move(description),
                                      .strategy = strategy.value_or(layout::Strategy::kFullShard),
                                      .shard_group_size = sharding.shard_group_size(),
                                      .gathered_slots = std::max(1, sharding.gathered_slots())},
                                     communicator_));
    if (!plan_.inference().checkpoint_path().empty()) {
      ASSIGN_OR_RETURN(const std::unique_ptr<checkpoint::Checkpoint> checkpoint,
                       checkpoint::Checkpoint::Open(plan_.inference().checkpoint_path()));
      return model_->Fill(*checkpoint);
    }
    const v1::ModelSpec& model = plan_.spec().model();
    if (model.hugging_face_directory().empty()) {
      return absl::InvalidArgumentError(
          "inference must say where the weights are: checkpoint_of_job or "
          "model.hugging_face_directory");
    }
    return train::LoadHuggingFace(model.hugging_face_directory(), model.init_seed(),
                                  model_->parameters());
  }

  absl::StatusOr<Outcome> Edit() {
    // Planned first: what cannot be written back is not worth changing.
    std::unique_ptr<checkpoint::HuggingFaceFiles> files;
    SavePlan save;
    if (plan_.inference().checkpoint_path().empty()) {
      const std::string& directory = plan_.spec().model().hugging_face_directory();
      ASSIGN_OR_RETURN(files, checkpoint::HuggingFaceFiles::Open(directory));
      ASSIGN_OR_RETURN(save, PlanLike(directory, *files, model_->description()));
    } else {
      ASSIGN_OR_RETURN(save, PlanOfFamily(plan_.spec().model(), model_->description()));
    }
    const v1::EditSpec& edit = spec().edit();
    ASSIGN_OR_RETURN(const int64_t matrices,
                     ApplyProjections(edit.projections(), edit.scale() == 0 ? 1 : edit.scale(),
                                      model_->parameters()));
    // Nobody writes before everybody has looked.
    RETURN_IF_ERROR(train::AgreeOnStatus(communicator_, CheckFinite(save, model_->parameters())));
    RETURN_IF_ERROR(train::AgreeOnStatus(communicator_, MakeRoom()));
    RETURN_IF_ERROR(
        SaveModel(*model_, communicator_, save,
                  {.directory = spec().output(),
                   .unfinished = options_.job.empty() ? "" : MergedPath(Unfinished())}));
    if (options_.report_progress != nullptr) options_.report_progress(matrices, matrices);
    return Outcome{.prompts = matrices};
  }

  // Where the edited model goes; SaveModel says what is still there.
  absl::Status MakeRoom() const {
    if (communicator_.rank() != 0) return absl::OkStatus();
    if (!options_.may_replace_output) return CheckIsFree(spec().output());
    RemoveModel(spec().output());
    return absl::OkStatus();
  }

  // GENERATE, SCORE, CAPTURE.
  absl::StatusOr<Outcome> Read() {
    const auto kind =
        spec().has_score() ? dataset::PromptKind::kWithContinuation : dataset::PromptKind::kPlain;
    absl::StatusOr<dataset::PromptFile> read = dataset::ReadPrompts(spec().prompt_file(), kind);
    if (!read.ok()) return Named(read.status());
    const dataset::PromptFile& file = *read;
    RETURN_IF_ERROR(CheckPrompts(file));
    const Task task{.model = *model_,
                    .communicator = communicator_,
                    .prompts = file.prompts,
                    .writes_text = file.has_text,
                    .batch_size = spec().batch_size() > 0 ? spec().batch_size() : 8,
                    .output = spec().output(),
                    .unfinished = Unfinished(),
                    .options = options_};
    if (spec().has_generate()) return RunGenerate(task, OptionsOf(spec().generate()));
    if (spec().has_score()) return RunScore(task);
    if (!spec().has_capture()) return absl::InvalidArgumentError("inference must name its kind");
    const auto& layers = spec().capture().layers();
    return RunCapture(task, {layers.begin(), layers.end()});
  }

  absl::Status Named(const absl::Status& status) const {
    return absl::Status(status.code(), absl::StrCat(spec().prompt_file(), ": ", status.message()));
  }

  absl::Status CheckPrompts(const dataset::PromptFile& file) const {
    const std::string& expected = plan_.inference().prompt_sha256();
    if (!expected.empty() && file.sha256 != expected) {
      return Named(absl::InvalidArgumentError("changed since the job was planned"));
    }
    const int64_t vocabulary = model_->description().vocabulary_size;
    if (file.has_text && vocabulary != kByteVocabulary) {
      return Named(absl::InvalidArgumentError(
          absl::StrCat("text is read as bytes, for models with a vocabulary of ", kByteVocabulary,
                       ", but this one's is ", vocabulary, "; give tokens instead")));
    }
    if (file.largest_token >= vocabulary) {
      return Named(absl::InvalidArgumentError(absl::StrCat("tokens must be below ", vocabulary,
                                                           ", the model's vocabulary, but one is ",
                                                           file.largest_token)));
    }
    ASSIGN_OR_RETURN(const int64_t max_length, MaxLengthOf(model_->description()));
    const int64_t added = spec().has_generate() ? OptionsOf(spec().generate()).max_new_tokens : 0;
    if (file.longest + added <= max_length) return absl::OkStatus();
    return Named(absl::InvalidArgumentError(
        absl::StrCat("the longest prompt has ", file.longest, " tokens",
                     added > 0 ? absl::StrCat(" and max_new_tokens is ", added) : "",
                     ", but the model reads ", max_length, " at most")));
  }

  static GenerateOptions OptionsOf(const v1::GenerateSpec& spec) {
    GenerateOptions options;
    if (spec.max_new_tokens() > 0) options.max_new_tokens = spec.max_new_tokens();
    options.choice = {.temperature = spec.temperature(),
                      .top_k = spec.top_k(),
                      .top_p = spec.top_p() == 0 ? 1 : spec.top_p()};
    options.stop_tokens.assign(spec.stop_tokens().begin(), spec.stop_tokens().end());
    options.seed = spec.seed();
    return options;
  }

  const v1::JobPlan& plan_;
  comm::Communicator& communicator_;
  const Options& options_;
  std::unique_ptr<ShardedModel> model_;
};

}  // namespace

absl::StatusOr<Outcome> RunInference(const v1::JobPlan& plan, comm::Communicator& communicator,
                                     const Options& options) {
  if (plan.sharding().threads_per_rank() > 0) {
    at::set_num_threads(plan.sharding().threads_per_rank());
  }
  absl::StatusOr<Outcome> outcome = absl::UnknownError("");
  RETURN_IF_ERROR(train::CatchTorchErrors([&] {
    outcome = Inference(plan, communicator, options).Run();
    return outcome.status();
  }));
  return outcome;
}

}  // namespace sotto::infer
