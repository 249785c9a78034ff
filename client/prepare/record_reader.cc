#include "client/prepare/record_reader.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/prepare/csv.h"
#include "client/prepare/label.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace sotto::client {
namespace {

bool IsBlank(absl::string_view text) { return absl::StripAsciiWhitespace(text).empty(); }

absl::Status LineError(size_t line, absl::string_view rule) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", rule));
}

std::vector<TextRecord> ReadLines(absl::string_view content) {
  std::vector<TextRecord> records;
  for (absl::string_view line : absl::StrSplit(content, '\n')) {
    absl::ConsumeSuffix(&line, "\r");
    if (!IsBlank(line)) records.push_back({.prompt = "", .text = std::string(line)});
  }
  return records;
}

std::vector<TextRecord> ReadPercent(absl::string_view content) {
  std::vector<TextRecord> records;
  std::string text;
  const auto finish = [&] {
    absl::string_view whole = text;
    absl::ConsumeSuffix(&whole, "\n");
    if (!IsBlank(whole)) records.push_back({.prompt = "", .text = std::string(whole)});
    text.clear();
  };
  for (absl::string_view line : absl::StrSplit(content, '\n')) {
    absl::ConsumeSuffix(&line, "\r");
    if (line == "%") {
      finish();
    } else {
      absl::StrAppend(&text, line, "\n");
    }
  }
  finish();
  return records;
}

// The string field `name` of `object`.
absl::StatusOr<std::string> StringField(const nlohmann::json& object, const std::string& name,
                                        size_t line) {
  const auto field = object.find(name);
  if (field == object.end())
    return LineError(line, absl::StrCat("field \"", name, "\" is missing"));
  if (!field->is_string())
    return LineError(line, absl::StrCat("field \"", name, "\" must be a string"));
  return field->get<std::string>();
}

absl::StatusOr<TextRecord> ParseJsonRecord(absl::string_view text,
                                           const RecordReaderOptions& options, size_t line) {
  const nlohmann::json object = nlohmann::json::parse(text.begin(), text.end(), nullptr,
                                                      /*allow_exceptions=*/false);
  if (!object.is_object()) return LineError(line, "must be one JSON object");
  TextRecord record;
  if (object.contains("prompt") || object.contains("completion")) {
    ASSIGN_OR_RETURN(record.prompt, StringField(object, "prompt", line));
    ASSIGN_OR_RETURN(record.text, StringField(object, "completion", line));
  } else {
    ASSIGN_OR_RETURN(record.text, StringField(object, options.column, line));
  }
  const absl::StatusOr<int32_t> label = LabelOf(object, options.classes);
  if (!label.ok()) return LineError(line, label.status().message());
  record.label = *label;
  return record;
}

absl::StatusOr<std::vector<TextRecord>> ReadJsonl(absl::string_view content,
                                                  const RecordReaderOptions& options) {
  std::vector<TextRecord> records;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(content, '\n')) {
    ++number;
    if (IsBlank(line)) continue;
    ASSIGN_OR_RETURN(TextRecord record, ParseJsonRecord(line, options, number));
    if (!IsBlank(record.text)) records.push_back(std::move(record));
  }
  return records;
}

absl::StatusOr<std::vector<TextRecord>> ReadCsv(absl::string_view content,
                                                const std::string& column) {
  ASSIGN_OR_RETURN(std::vector<CsvRow> rows, ParseCsv(content));
  if (rows.empty()) return absl::InvalidArgumentError("a CSV file needs a header line");
  const std::vector<std::string>& header = rows.front().cells;
  size_t index = 0;
  while (index < header.size() && header[index] != column) ++index;
  if (index == header.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("column \"", column, "\" is not in the header line"));
  }
  std::vector<TextRecord> records;
  for (size_t i = 1; i < rows.size(); ++i) {
    if (rows[i].cells.size() != header.size()) {
      return LineError(rows[i].line, absl::StrCat("has ", rows[i].cells.size(),
                                                  " cells, but the header has ", header.size()));
    }
    std::string& text = rows[i].cells[index];
    if (!IsBlank(text)) records.push_back({.prompt = "", .text = std::move(text)});
  }
  return records;
}

}  // namespace

absl::StatusOr<std::vector<TextRecord>> ReadRecords(absl::string_view content,
                                                    const RecordReaderOptions& options) {
  switch (options.format) {
    case RecordFormat::kLines:
      return ReadLines(content);
    case RecordFormat::kPercent:
      return ReadPercent(content);
    case RecordFormat::kJsonl:
      return ReadJsonl(content, options);
    case RecordFormat::kCsv:
      return ReadCsv(content, options.column);
    case RecordFormat::kTokens:
    case RecordFormat::kValues:
    case RecordFormat::kSafetensors:
      return absl::InvalidArgumentError("the format tokens holds no text");
  }
  return absl::InternalError("unknown record format");
}

absl::StatusOr<RecordFormat> ParseRecordFormat(absl::string_view name) {
  if (name == "lines") return RecordFormat::kLines;
  if (name == "percent") return RecordFormat::kPercent;
  if (name == "jsonl") return RecordFormat::kJsonl;
  if (name == "csv") return RecordFormat::kCsv;
  if (name == "tokens") return RecordFormat::kTokens;
  if (name == "values") return RecordFormat::kValues;
  if (name == "safetensors") return RecordFormat::kSafetensors;
  return absl::InvalidArgumentError(absl::StrCat(
      "format must be lines, percent, jsonl, csv, tokens, values or safetensors, but is \"", name,
      "\""));
}

}  // namespace sotto::client
