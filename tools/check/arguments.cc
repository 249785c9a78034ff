#include "tools/check/arguments.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/spec/spec_parser.h"

namespace sotto::check {

absl::StatusOr<v1::ModelSpec> ParseModel(const std::string& text) {
  std::error_code ignored;
  const bool is_file = std::filesystem::is_regular_file(text, ignored);
  absl::StatusOr<v1::JobSpec> spec = absl::UnknownError("");
  if (is_file) {
    ASSIGN_OR_RETURN(const std::string contents, ReadFile(text));
    spec = spec::ParseJobSpec(contents, spec::FormatOf(text));
  } else {
    spec = spec::ParseJobSpec(absl::StrCat("model: ", text), spec::Format::kYaml);
  }
  if (!spec.ok() || !spec->has_model()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--model must be a job spec's file, or a model such as '{gpt2: {vocabulary_size: 257, "
        "width: 64, layers: 2, heads: 4, max_length: 64}}'",
        spec.ok() ? "" : absl::StrCat("; ", spec.status().message())));
  }
  return spec->model();
}

absl::StatusOr<layout::Strategy> ParseStrategy(const std::string& text) {
  const auto strategy = layout::FindStrategy(absl::StrReplaceAll(text, {{"-", "_"}}));
  if (strategy.has_value()) return *strategy;
  return absl::InvalidArgumentError(absl::StrCat(
      "--strategy must be FULL_SHARD, SHARD_GRAD_OP, HYBRID_SHARD or NO_SHARD, but is \"", text,
      "\""));
}

absl::StatusOr<v1::Strategy> ParseStrategyOfSpec(const std::string& text) {
  ASSIGN_OR_RETURN(const layout::Strategy strategy, ParseStrategy(text));
  v1::Strategy of_spec = v1::STRATEGY_UNSPECIFIED;
  v1::Strategy_Parse(std::string(layout::StrategyName(strategy)), &of_spec);
  return of_spec;
}

absl::Status CheckClipNorm(double clip_norm) {
  if (clip_norm >= kSmallestClipNorm && clip_norm <= kLargestClipNorm) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--clip_norm must be in [", kSmallestClipNorm,
                                                 ", ", kLargestClipNorm, "], but is ", clip_norm));
}

absl::Status MakeOutFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--out ", folder, " cannot be made: ", error.message()));
}

}  // namespace sotto::check
