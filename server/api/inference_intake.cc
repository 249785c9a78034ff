#include "server/api/inference_intake.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "common/dataset/prompt_file.h"
#include "server/api/errors.h"
#include "server/api/wait_for.h"

namespace sotto::api {
namespace {

namespace fs = std::filesystem;

// Read whole by the coordinator and by every rank.
constexpr uintmax_t kLargestPromptFile = uintmax_t{256} << 20;

constexpr char kPrompts[] = "inference.prompt_file";
constexpr char kOutput[] = "inference.output";
constexpr char kMustNotExist[] = "must not exist";
constexpr char kAbsolute[] = "must be an absolute path on the coordinator's host";

class Intake {
 public:
  Intake(const InferenceSources& sources, bool steward, v1::JobSpec& spec)
      : sources_(sources), steward_(steward), spec_(spec) {}

  absl::StatusOr<planning::InferenceFacts> Examine() {
    if (!inference().checkpoint_of_job().empty()) RETURN_IF_ERROR(FindWeights());
    if (!inference().prompt_file().empty() && !inference().has_edit()) {
      RETURN_IF_ERROR(ReadPromptFile());
    }
    if (!inference().output().empty()) CheckOutput();
    const std::string& projections = inference().edit().projections();
    if (!projections.empty()) IsReadable("inference.edit.projections", projections);
    return std::move(facts_);
  }

 private:
  const v1::InferenceSpec& inference() const { return spec_.inference(); }

  void Break(const std::string& field, std::string rule, std::string value) {
    facts_.violations.push_back({field, std::move(rule), std::move(value)});
  }

  bool IsReadable(const std::string& field, const std::string& path) {
    if (path[0] != '/') {
      Break(field, kAbsolute, path);
      return false;
    }
    std::error_code error;
    if (fs::is_regular_file(path, error)) return true;
    Break(field, "must be a file on the coordinator's host", path);
    return false;
  }

  absl::Status FindWeights() {
    constexpr char kField[] = "inference.checkpoint_of_job";
    const std::string& id = inference().checkpoint_of_job();
    if (spec_.model().family_case() != v1::ModelSpec::FAMILY_NOT_SET ||
        !spec_.model().hugging_face_directory().empty()) {
      Break("model", absl::StrCat("must be left out: it is that of ", id), "given");
    }
    const auto job = WaitFor<absl::StatusOr<v1::Job>>(
        [&](auto done) { sources_.jobs.GetJob(id, std::move(done)); });
    if (!job.ok() && !absl::IsNotFound(job.status())) return job.status();
    if (!job.ok() || job->checkpoint_path().empty()) {
      Break(kField, "must be a job with a checkpoint", id);
      return absl::OkStatus();
    }
    const v1::JobPlan& plan = job->plan();
    if (plan.privacy().not_private() && plan.dataset().budgeted() && !steward_) {
      return WithReason(
          absl::PermissionDeniedError(absl::StrCat(
              id, " promises no privacy, but its dataset \"", plan.dataset().name(),
              "\" has a budget: only a data steward may read its weights (--steward)")),
          "STEWARD_REQUIRED", {{"dataset", plan.dataset().name()}});
    }
    *spec_.mutable_model() = plan.spec().model();
    facts_.checkpoint_path = job->checkpoint_path();
    facts_.note = absl::StrCat("The weights are those of ", id, " after ", job->checkpoint_step(),
                               " steps: what follows from them costs no budget.");
    return absl::OkStatus();
  }

  absl::Status ReadPromptFile() {
    const std::string& path = inference().prompt_file();
    if (!IsReadable(kPrompts, path)) return absl::OkStatus();
    ASSIGN_OR_RETURN(std::optional<std::string> registered, DatasetAt(path));
    std::error_code error;
    if (!registered.has_value() && fs::file_size(path, error) > kLargestPromptFile) {
      Break(kPrompts, absl::StrCat("must have at most ", kLargestPromptFile, " bytes"), path);
      return absl::OkStatus();
    }
    if (registered.has_value()) return RefuseDataset(*registered);
    const absl::StatusOr<std::string> content = ReadFile(path);
    if (!content.ok()) {
      Break(kPrompts, absl::StrCat("cannot be read: ", content.status().message()), "");
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(registered,
                     WaitFor<absl::StatusOr<std::optional<std::string>>>([&](auto done) {
                       sources_.datasets.FindContent(crypto::HexSha256(*content), std::move(done));
                     }));
    if (registered.has_value()) return RefuseDataset(*registered);
    const auto kind = inference().has_score() ? dataset::PromptKind::kWithContinuation
                                              : dataset::PromptKind::kPlain;
    const absl::StatusOr<dataset::PromptFile> file = dataset::ParsePrompts(*content, kind);
    if (!file.ok()) {
      Break(kPrompts, absl::StrCat("must hold prompts: ", file.status().message()), path);
      return absl::OkStatus();
    }
    size_t longest_continuation = 0;
    for (const dataset::Prompt& prompt : file->prompts) {
      longest_continuation = std::max(longest_continuation, prompt.continuation.size());
    }
    facts_.prompts =
        planning::PromptFacts{.prompts = static_cast<int64_t>(file->prompts.size()),
                              .sha256 = file->sha256,
                              .longest = file->longest,
                              .longest_continuation = static_cast<int32_t>(longest_continuation),
                              .largest_token = file->largest_token,
                              .has_text = file->has_text};
    return absl::OkStatus();
  }

  absl::Status RefuseDataset(const std::string& name) {
    Break(kPrompts, "must be public text of its own, never a registered dataset",
          absl::StrCat("dataset \"", name, "\""));
    return absl::OkStatus();
  }

  // The dataset that was registered from this file, or from a folder that it lies in: its content
  // may have changed since.
  absl::StatusOr<std::optional<std::string>> DatasetAt(const std::string& path) {
    constexpr int kPage = 1000;
    std::error_code error;
    const std::string canonical = fs::canonical(path, error).string();
    std::string after;
    for (;;) {
      ASSIGN_OR_RETURN(const std::vector<v1::Dataset> page,
                       WaitFor<absl::StatusOr<std::vector<v1::Dataset>>>([&](auto done) {
                         sources_.datasets.List(after, kPage, std::move(done));
                       }));
      for (const v1::Dataset& dataset : page) {
        const std::string registered = fs::weakly_canonical(dataset.path(), error).string();
        if (fs::equivalent(dataset.path(), path, error) ||
            absl::StartsWith(canonical, absl::StrCat(registered, "/"))) {
          return std::optional<std::string>(dataset.name());
        }
      }
      if (static_cast<int>(page.size()) < kPage) return std::optional<std::string>();
      after = page.back().name();
    }
  }

  // Gives the output the one name that two jobs could compare: no links, no dots, no slash behind.
  void CheckOutput() {
    const std::string given = inference().output();
    if (given[0] != '/') return Break(kOutput, kAbsolute, given);
    fs::path path = fs::path(given).lexically_normal();
    if (!path.has_filename()) path = path.parent_path();
    std::error_code error;
    if (fs::exists(fs::symlink_status(path, error))) return Break(kOutput, kMustNotExist, given);
    const fs::path folder = fs::canonical(path.parent_path(), error);
    if (error || !fs::is_directory(folder, error)) {
      return Break(kOutput, "must lie in a folder that exists", given);
    }
    spec_.mutable_inference()->set_output((folder / path.filename()).string());
  }

  const InferenceSources& sources_;
  const bool steward_;
  v1::JobSpec& spec_;
  planning::InferenceFacts facts_;
};

}  // namespace

absl::StatusOr<planning::InferenceFacts> ExamineInference(const InferenceSources& sources,
                                                          bool steward, v1::JobSpec& spec) {
  return Intake(sources, steward, spec).Examine();
}

bool OutputExists(const spec::Violation& violation) {
  return violation.field == kOutput && violation.rule == kMustNotExist;
}

}  // namespace sotto::api
