// sotto export: the model of a job's newest checkpoint as a Hugging Face directory.
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "common/checkpoint/hugging_face_export.h"
#include "common/spec/hugging_face_config_writer.h"

namespace sotto::cli {
namespace {

struct ExportOptions {
  std::string job;
  std::string checkpoint;
  std::string directory;
  std::string dtype = "fp32";
  uint64_t max_file_size = 0;  // bytes
};

const std::map<std::string, std::string> kDtypes = {
    {"fp32", "F32"}, {"bf16", "BF16"}, {"fp16", "F16"}};

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
  const std::string& dtype = kDtypes.at(options.dtype);
  ASSIGN_OR_RETURN(spec::HuggingFaceConfigText config,
                   spec::FormatHuggingFaceConfig(opened->manifest().model(), dtype));
  ASSIGN_OR_RETURN(const int64_t tensors,
                   checkpoint::ExportHuggingFace(
                       *opened, {.directory = options.directory,
                                 .config = std::move(config.json),
                                 .model_type = std::move(config.model_type),
                                 .dtype = dtype,
                                 .max_file_bytes = static_cast<int64_t>(options.max_file_size)}));
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
  verb->add_option("--dtype", options->dtype, "fp32, bf16 or fp16")
      ->check(CLI::IsMember(kDtypes))
      ->capture_default_str();
  verb->add_option("--max_file_size", options->max_file_size,
                   "tensors of one file, such as 5GB; default: one file")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true));
  verb->callback([options, &context] { context.Finish(Export(*options, context)); });
}

}  // namespace sotto::cli
