#include "client/prepare/prepare.h"

#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/prepare/byte_tokenizer.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/dataset/token_file_writer.h"

namespace sotto::client {
namespace {

bool IsSameFile(const std::string& one, const std::string& other) {
  std::error_code error;
  const auto resolved = [&](const std::string& path) {
    return std::filesystem::weakly_canonical(std::filesystem::absolute(path, error), error);
  };
  return resolved(one) == resolved(other);
}

// A file that is written must be no other file of the same call: the second would replace it.
absl::Status CheckPaths(const PrepareOptions& options) {
  if (!options.holdout.empty() && IsSameFile(options.holdout, options.output)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--holdout and --out must be two files, but both are ", options.output));
  }
  for (const std::string& input : options.inputs) {
    if (IsSameFile(input, options.output)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--out must not be an input, but is ", options.output));
    }
    if (!options.holdout.empty() && IsSameFile(input, options.holdout)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--holdout must not be an input, but is ", options.holdout));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const PrepareOptions& options) {
  if (options.inputs.empty())
    return absl::InvalidArgumentError("at least one input file is needed");
  if (options.output.empty()) return absl::InvalidArgumentError("--out is required");
  if (options.max_length < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("--max_length must be at least 2, but is ", options.max_length));
  }
  if (options.holdout_every < 0 || options.holdout_every == 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--holdout_every must be at least 2, but is ", options.holdout_every));
  }
  if ((options.holdout_every > 0) != !options.holdout.empty()) {
    return absl::InvalidArgumentError("--holdout and --holdout_every need each other");
  }
  return CheckPaths(options);
}

absl::StatusOr<std::vector<TextRecord>> ReadInputs(const PrepareOptions& options) {
  std::vector<TextRecord> records;
  for (const std::string& path : options.inputs) {
    ASSIGN_OR_RETURN(std::string content, ReadFile(path));
    absl::StatusOr<std::vector<TextRecord>> read = ReadRecords(content, options.reader);
    if (!read.ok()) {
      return absl::Status(read.status().code(), absl::StrCat(path, ": ", read.status().message()));
    }
    records.insert(records.end(), std::make_move_iterator(read->begin()),
                   std::make_move_iterator(read->end()));
  }
  if (records.empty()) return absl::InvalidArgumentError("the input holds no records");
  return records;
}

absl::StatusOr<PreparedFile> WriteTokens(const std::string& path, int32_t max_length,
                                         const std::vector<const TextRecord*>& records) {
  ASSIGN_OR_RETURN(dataset::TokenFileWriter writer,
                   dataset::TokenFileWriter::Create(path, {.tokenizer = "bytes",
                                                           .vocabulary_size = kByteVocabularySize,
                                                           .max_length = max_length}));
  for (const TextRecord* record : records) {
    const TokenizedRecord tokenized = TokenizeBytes(*record);
    RETURN_IF_ERROR(writer.Add(tokenized.tokens, tokenized.scored));
  }
  PreparedFile file{.path = path,
                    .sha256 = "",
                    .records = writer.records(),
                    .truncated_records = writer.truncated_records()};
  ASSIGN_OR_RETURN(file.sha256, writer.Finish());
  return file;
}

}  // namespace

absl::StatusOr<Prepared> Prepare(const PrepareOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  ASSIGN_OR_RETURN(const std::vector<TextRecord> records, ReadInputs(options));
  std::vector<const TextRecord*> kept;
  std::vector<const TextRecord*> held_out;
  for (size_t i = 0; i < records.size(); ++i) {
    const bool is_held_out =
        options.holdout_every > 0 && (i + 1) % static_cast<size_t>(options.holdout_every) == 0;
    (is_held_out ? held_out : kept).push_back(&records[i]);
  }
  if (options.holdout_every > 0 && held_out.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--holdout_every ", options.holdout_every,
                                                   " leaves no record for the holdout: there are ",
                                                   records.size()));
  }
  Prepared prepared;
  ASSIGN_OR_RETURN(prepared.dataset, WriteTokens(options.output, options.max_length, kept));
  if (!held_out.empty()) {
    ASSIGN_OR_RETURN(prepared.holdout, WriteTokens(options.holdout, options.max_length, held_out));
  }
  return prepared;
}

}  // namespace sotto::client
