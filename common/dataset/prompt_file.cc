#include "common/dataset/prompt_file.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"
#include "nlohmann/json.hpp"

namespace sotto::dataset {
namespace {

using Json = nlohmann::json;

// One of the two forms of a part of a line.
struct Field {
  const char* tokens;
  const char* text;
};
constexpr Field kPrompt = {"tokens", "text"};
constexpr Field kContinuation = {"continuation_tokens", "continuation"};

absl::StatusOr<std::vector<int32_t>> TokensOf(const Json& value, const char* name) {
  const auto error = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat("field \"", name, "\" must be an array of whole numbers from 0 to ",
                     std::numeric_limits<int32_t>::max()));
  };
  if (!value.is_array()) return error();
  std::vector<int32_t> tokens;
  tokens.reserve(value.size());
  for (const Json& token : value) {
    if (!token.is_number_unsigned() ||
        token.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
      return error();
    }
    tokens.push_back(static_cast<int32_t>(token.get<uint64_t>()));
  }
  return tokens;
}

absl::StatusOr<std::vector<int32_t>> ParsePart(const Json& object, const Field& field,
                                               bool& has_text) {
  const bool is_text = object.contains(field.text);
  if (is_text == object.contains(field.tokens)) {
    return absl::InvalidArgumentError(
        absl::StrCat("must have either \"", field.tokens, "\" or \"", field.text, "\""));
  }
  std::vector<int32_t> tokens;
  if (is_text) {
    const Json& text = object[field.text];
    if (!text.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat("field \"", field.text, "\" must be a string"));
    }
    for (unsigned char byte : text.get<std::string>()) tokens.push_back(byte);
    has_text = true;
  } else {
    ASSIGN_OR_RETURN(tokens, TokensOf(object[field.tokens], field.tokens));
  }
  if (tokens.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("field \"", is_text ? field.text : field.tokens,
                                                   "\" must hold at least one token"));
  }
  return tokens;
}

// The parser itself lets the last of equal keys win.
absl::StatusOr<Json> ParseObject(absl::string_view line) {
  std::set<std::string> keys;
  std::string twice;
  const Json::parser_callback_t on_event = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth == 1 && event == Json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!keys.insert(key).second) twice = key;
    }
    return true;
  };
  Json object = Json::parse(line.begin(), line.end(), on_event, /*allow_exceptions=*/false);
  if (!object.is_object()) return absl::InvalidArgumentError("must be one JSON object");
  if (twice.empty()) return object;
  return absl::InvalidArgumentError(absl::StrCat("field \"", twice, "\" is given twice"));
}

absl::StatusOr<Prompt> ParseLine(absl::string_view line, PromptKind kind, bool& has_text) {
  ASSIGN_OR_RETURN(const Json object, ParseObject(line));
  const bool continues = kind == PromptKind::kWithContinuation;
  for (const auto& [name, value] : object.items()) {
    const bool known = name == kPrompt.tokens || name == kPrompt.text ||
                       (continues && (name == kContinuation.tokens || name == kContinuation.text));
    if (!known) return absl::InvalidArgumentError(absl::StrCat("unknown field \"", name, "\""));
  }
  Prompt prompt;
  ASSIGN_OR_RETURN(prompt.tokens, ParsePart(object, kPrompt, has_text));
  if (!continues) return prompt;
  ASSIGN_OR_RETURN(prompt.continuation, ParsePart(object, kContinuation, has_text));
  return prompt;
}

}  // namespace

absl::StatusOr<PromptFile> ParsePrompts(absl::string_view content, PromptKind kind) {
  PromptFile file;
  size_t number = 0;
  for (absl::string_view line : absl::StrSplit(content, '\n')) {
    ++number;
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    absl::StatusOr<Prompt> prompt = ParseLine(line, kind, file.has_text);
    if (!prompt.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": ", prompt.status().message()));
    }
    for (const std::vector<int32_t>* tokens : {&prompt->tokens, &prompt->continuation}) {
      for (int32_t token : *tokens) file.largest_token = std::max(file.largest_token, token);
    }
    const size_t length = prompt->tokens.size() + prompt->continuation.size();
    file.longest = std::max(file.longest, static_cast<int32_t>(length));
    file.prompts.push_back(*std::move(prompt));
  }
  if (file.prompts.empty()) return absl::InvalidArgumentError("holds no prompts");
  file.sha256 = crypto::HexSha256(content);
  return file;
}

absl::StatusOr<PromptFile> ReadPrompts(const std::string& path, PromptKind kind) {
  ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  return ParsePrompts(content, kind);
}

}  // namespace sotto::dataset
