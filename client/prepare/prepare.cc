#include "client/prepare/prepare.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/prepare/byte_tokenizer.h"
#include "client/prepare/token_reader.h"
#include "client/prepare/value_reader.h"
#include "client/prepare/value_type.h"
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

bool HoldsValues(RecordFormat format) {
  return format == RecordFormat::kValues || format == RecordFormat::kSafetensors;
}

absl::Status CheckOptions(const PrepareOptions& options) {
  if (options.inputs.empty())
    return absl::InvalidArgumentError("at least one input file is needed");
  if (options.output.empty()) return absl::InvalidArgumentError("--out is required");
  const bool holds_values = HoldsValues(options.reader.format);
  if (holds_values && options.max_length != 0) {
    return absl::InvalidArgumentError("--max_length is of text and tokens only");
  }
  if (options.reader.format != RecordFormat::kValues && !options.shape.empty()) {
    return absl::InvalidArgumentError("--shape is of --format values only");
  }
  if (!holds_values && !options.dtype.empty()) {
    return absl::InvalidArgumentError("--dtype is of --format values and safetensors only");
  }
  if (!holds_values && options.max_length < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("--max_length must be at least 2, but is ", options.max_length));
  }
  if (options.reader.classes < 0 || options.reader.classes == 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--classes must be at least 2, but is ", options.reader.classes));
  }
  const bool has_labels = holds_values || options.reader.format == RecordFormat::kJsonl ||
                          options.reader.format == RecordFormat::kTokens;
  if (options.reader.classes > 0 && !has_labels) {
    return absl::InvalidArgumentError(
        "--classes needs --format jsonl, tokens, values or safetensors, which have labels");
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

absl::StatusOr<TokenizedRecords> ReadContent(absl::string_view content,
                                             const RecordReaderOptions& options) {
  if (options.format == RecordFormat::kTokens) return ReadTokens(content, options.classes);
  ASSIGN_OR_RETURN(const std::vector<TextRecord> texts, ReadRecords(content, options));
  TokenizedRecords tokenized{.tokenizer = "bytes", .vocabulary_size = kByteVocabularySize};
  for (const TextRecord& text : texts) tokenized.records.push_back(TokenizeBytes(text));
  return tokenized;
}

// All inputs are of one tokenizer.
absl::StatusOr<TokenizedRecords> ReadInputs(const PrepareOptions& options) {
  TokenizedRecords all;
  all.classes = options.reader.classes;
  for (const std::string& path : options.inputs) {
    ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
    absl::StatusOr<TokenizedRecords> read = ReadContent(content, options.reader);
    if (!read.ok()) {
      return absl::Status(read.status().code(), absl::StrCat(path, ": ", read.status().message()));
    }
    if (all.tokenizer.empty()) {
      all.tokenizer = read->tokenizer;
      all.vocabulary_size = read->vocabulary_size;
    } else if (read->tokenizer != all.tokenizer || read->vocabulary_size != all.vocabulary_size) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": all inputs must be of one tokenizer, but this is ", read->tokenizer, " with ",
          read->vocabulary_size, " tokens after ", all.tokenizer, " with ", all.vocabulary_size));
    }
    std::move(read->records.begin(), read->records.end(), std::back_inserter(all.records));
  }
  if (all.records.empty()) return absl::InvalidArgumentError("the input holds no records");
  return all;
}

absl::StatusOr<PreparedFile> WriteTokens(const std::string& path, int32_t max_length,
                                         const TokenizedRecords& all,
                                         const std::vector<const TokenizedRecord*>& records) {
  ASSIGN_OR_RETURN(dataset::TokenFileWriter writer,
                   dataset::TokenFileWriter::Create(path, {.tokenizer = all.tokenizer,
                                                           .vocabulary_size = all.vocabulary_size,
                                                           .max_length = max_length,
                                                           .classes = all.classes}));
  for (const TokenizedRecord* record : records) {
    RETURN_IF_ERROR(writer.Add(record->tokens, record->scored, record->label));
  }
  PreparedFile file{.path = path,
                    .sha256 = "",
                    .records = writer.records(),
                    .truncated_records = writer.truncated_records()};
  ASSIGN_OR_RETURN(file.sha256, writer.Finish());
  return file;
}

// All inputs are of one shape and type.
absl::StatusOr<ValueRecords> ReadValues(const PrepareOptions& options, ByteCensus& census) {
  ASSIGN_OR_RETURN(const std::optional<dataset::ValueType> type, ParseValueType(options.dtype));
  ValueRecords all;
  for (const std::string& path : options.inputs) {
    absl::StatusOr<ValueRecords> read = absl::UnknownError("");
    if (options.reader.format == RecordFormat::kSafetensors) {
      read = ReadValueTensors(path, options.reader.classes);
    } else {
      ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
      read = ReadValueLines(content, options.shape, options.reader.classes);
    }
    absl::Status status = read.status();
    if (status.ok() && type.has_value()) status = Retype(*type, *read);
    if (!status.ok()) {
      return absl::Status(status.code(), absl::StrCat(path, ": ", status.message()));
    }
    if (read->records.empty()) continue;
    census.Add(path, *read);
    if (all.records.empty()) {
      all.options = read->options;
    } else if (read->options.shape != all.options.shape ||
               read->options.targets != all.options.targets ||
               read->options.value_type != all.options.value_type) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": all inputs must be of one shape, type and number of targets"));
    }
    std::move(read->records.begin(), read->records.end(), std::back_inserter(all.records));
  }
  if (all.records.empty()) return absl::InvalidArgumentError("the input holds no records");
  return all;
}

absl::StatusOr<PreparedFile> WriteValues(const std::string& path, const ValueRecords& all,
                                         const std::vector<const ValueRecord*>& records) {
  ASSIGN_OR_RETURN(dataset::ValueFileWriter writer,
                   dataset::ValueFileWriter::Create(path, all.options));
  for (const ValueRecord* record : records) {
    RETURN_IF_ERROR(all.options.value_type == dataset::ValueType::kUint8
                        ? writer.Add(record->bytes, record->label, record->targets)
                        : writer.Add(record->floats, record->label, record->targets));
  }
  PreparedFile file{.path = path, .sha256 = "", .records = writer.records()};
  ASSIGN_OR_RETURN(file.sha256, writer.Finish());
  return file;
}

// Keeps most records for the dataset and hands every nth to the holdout, `write(path, records)`.
template <typename Record, typename Write>
absl::StatusOr<Prepared> Split(const PrepareOptions& options, const std::vector<Record>& all,
                               const Write& write) {
  std::vector<const Record*> kept;
  std::vector<const Record*> held_out;
  for (size_t i = 0; i < all.size(); ++i) {
    const bool is_held_out =
        options.holdout_every > 0 && (i + 1) % static_cast<size_t>(options.holdout_every) == 0;
    (is_held_out ? held_out : kept).push_back(&all[i]);
  }
  if (options.holdout_every > 0 && held_out.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--holdout_every ", options.holdout_every,
                                                   " leaves no record for the holdout: there are ",
                                                   all.size()));
  }
  Prepared prepared;
  ASSIGN_OR_RETURN(prepared.dataset, write(options.output, kept));
  if (!held_out.empty()) {
    ASSIGN_OR_RETURN(prepared.holdout, write(options.holdout, held_out));
  }
  return prepared;
}

}  // namespace

absl::StatusOr<Prepared> Prepare(const PrepareOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  if (HoldsValues(options.reader.format)) {
    ByteCensus census;
    ASSIGN_OR_RETURN(const ValueRecords all, ReadValues(options, census));
    const auto write = [&](const std::string& path, const auto& records) {
      return WriteValues(path, all, records);
    };
    ASSIGN_OR_RETURN(Prepared prepared, Split(options, all.records, write));
    prepared.value_type = census.Text(all.options.value_type);
    return prepared;
  }
  ASSIGN_OR_RETURN(const TokenizedRecords all, ReadInputs(options));
  return Split(options, all.records, [&](const std::string& path, const auto& records) {
    return WriteTokens(path, options.max_length, all, records);
  });
}

}  // namespace sotto::client
