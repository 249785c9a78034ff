#include "client/prepare/token_reader.h"

#include <cstddef>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/prepare/label.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace sotto::client {
namespace {

using nlohmann::json;

constexpr char kHeaderRule[] =
    R"(must be {"tokenizer": NAME, "vocabulary_size": N} with N from 2 to 2147483647)";

absl::Status LineError(size_t line, absl::string_view rule) {
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ": ", rule));
}

json ParseLine(absl::string_view line) {
  return json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
}

absl::StatusOr<TokenizedRecords> ParseHeader(absl::string_view text, size_t line) {
  const json header = ParseLine(text);
  if (!header.is_object() || header.size() != 2 || !header.contains("tokenizer") ||
      !header.contains("vocabulary_size") || !header["tokenizer"].is_string() ||
      !header["vocabulary_size"].is_number_integer()) {
    return LineError(line, kHeaderRule);
  }
  const auto size = header["vocabulary_size"].get<int64_t>();
  if (size < 2 || size > std::numeric_limits<int32_t>::max()) return LineError(line, kHeaderRule);
  return TokenizedRecords{.tokenizer = header["tokenizer"].get<std::string>(),
                          .vocabulary_size = static_cast<int32_t>(size)};
}

// The array `name` of `object`, whole numbers in [0, limit).
template <typename T>
absl::StatusOr<std::vector<T>> NumberArray(const json& object, const char* name, int64_t limit,
                                           size_t line) {
  const auto error = [&] {
    return LineError(line, absl::StrCat("field \"", name, "\" must be an array of whole numbers ",
                                        "from 0 to ", limit - 1));
  };
  const auto field = object.find(name);
  if (field == object.end() || !field->is_array()) return error();
  std::vector<T> numbers;
  numbers.reserve(field->size());
  for (const json& value : *field) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() >= static_cast<uint64_t>(limit)) {
      return error();
    }
    numbers.push_back(static_cast<T>(value.get<uint64_t>()));
  }
  return numbers;
}

absl::StatusOr<TokenizedRecord> ParseRecord(absl::string_view text, int32_t vocabulary_size,
                                            int32_t classes, size_t line) {
  const json object = ParseLine(text);
  if (!object.is_object()) return LineError(line, "must be one JSON object");
  for (const auto& [name, value] : object.items()) {
    if (name != "tokens" && name != "scored" && name != "label") {
      return LineError(line, "may only have the fields \"tokens\", \"scored\" and \"label\"");
    }
  }
  TokenizedRecord record;
  ASSIGN_OR_RETURN(record.tokens, NumberArray<int32_t>(object, "tokens", vocabulary_size, line));
  if (record.tokens.empty()) return LineError(line, "a record needs at least one token");
  if (object.contains("scored")) {
    ASSIGN_OR_RETURN(record.scored, NumberArray<uint8_t>(object, "scored", 2, line));
    if (record.scored.size() != record.tokens.size()) {
      return LineError(line, absl::StrCat("\"scored\" must have one number a token, but has ",
                                          record.scored.size(), " for ", record.tokens.size()));
    }
  } else {
    record.scored.assign(record.tokens.size(), 1);
  }
  const absl::StatusOr<int32_t> label = LabelOf(object, classes);
  if (!label.ok()) return LineError(line, label.status().message());
  record.label = *label;
  return record;
}

}  // namespace

absl::StatusOr<TokenizedRecords> ReadTokens(absl::string_view content, int32_t classes) {
  TokenizedRecords result;
  bool has_header = false;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(content, '\n')) {
    ++number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    if (!has_header) {
      ASSIGN_OR_RETURN(result, ParseHeader(line, number));
      has_header = true;
      continue;
    }
    ASSIGN_OR_RETURN(TokenizedRecord record,
                     ParseRecord(line, result.vocabulary_size, classes, number));
    result.records.push_back(std::move(record));
  }
  if (!has_header) return LineError(1, kHeaderRule);
  return result;
}

}  // namespace sotto::client
