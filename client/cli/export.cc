// sotto export: the model of a job's newest checkpoint as a Hugging Face directory.
#include <filesystem>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "common/checkpoint/hugging_face_export.h"

namespace sotto::cli {
namespace {

struct ExportOptions {
  std::string job;
  std::string checkpoint;
  std::string directory;
};

// The folder of one checkpoint, or the one that holds all of a job's.
absl::StatusOr<std::string> FindFolder(const ExportOptions& options, Context& context) {
  if (!options.checkpoint.empty()) return options.checkpoint;
  ASSIGN_OR_RETURN(Session session, context.ConnectToState());
  ASSIGN_OR_RETURN(const v1::Job job, session.client->Get(options.job));
  if (job.checkpoint_path().empty()) {
    return absl::NotFoundError(absl::StrCat(options.job, " has no checkpoint yet"));
  }
  return std::filesystem::path(job.checkpoint_path()).parent_path().string();
}

absl::Status Export(const ExportOptions& options, Context& context) {
  if (options.job.empty() == options.checkpoint.empty()) {
    return absl::InvalidArgumentError("export needs a job or --checkpoint, and not both");
  }
  ASSIGN_OR_RETURN(const std::string folder, FindFolder(options, context));
  std::unique_ptr<checkpoint::Checkpoint> opened;
  if (options.checkpoint.empty()) {
    ASSIGN_OR_RETURN(checkpoint::FoundCheckpoint found, checkpoint::FindLatestCheckpoint(folder));
    for (const std::string& note : found.notes) context.err << "note: " << note << std::endl;
    opened = std::move(found.checkpoint);
  } else {
    ASSIGN_OR_RETURN(opened, checkpoint::Checkpoint::Open(folder));
  }
  ASSIGN_OR_RETURN(const int64_t tensors,
                   checkpoint::ExportHuggingFace(*opened, options.directory));
  context.out << "wrote " << tensors << " tensors after " << opened->manifest().step()
              << " steps to " << options.directory << std::endl;
  return absl::OkStatus();
}

}  // namespace

void AddExportVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* verb = app.add_subcommand("export", "Write a model as a Hugging Face directory");
  verb->footer("Example: sotto export job-1 --out model");
  verb->add_option("job", options->job, "the job whose newest checkpoint is taken");
  verb->add_option("--checkpoint", options->checkpoint, "a checkpoint's folder instead of a job");
  verb->add_option("--out", options->directory, "folder to create")->required();
  verb->callback([options, &context] { context.Finish(Export(*options, context)); });
}

}  // namespace sotto::cli
