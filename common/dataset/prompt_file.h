// What inference is given to read: JSON lines on the coordinator's host.
//
//   {"tokens": [5, 17]}                            or  {"text": "ab"}
//   {"tokens": [5], "continuation_tokens": [17]}   or  {"text": "a", "continuation": "b"}
//
// A text is its bytes, one token each; nothing is added at its end. Blank lines are left out.
#ifndef SOTTO_COMMON_DATASET_PROMPT_FILE_H_
#define SOTTO_COMMON_DATASET_PROMPT_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sotto::dataset {

enum class PromptKind {
  kPlain,             // a prompt alone
  kWithContinuation,  // each with a continuation, which is scored
};

struct Prompt {
  std::vector<int32_t> tokens;        // at least one
  std::vector<int32_t> continuation;  // kWithContinuation: at least one; kPlain: empty
};

struct PromptFile {
  std::vector<Prompt> prompts;  // in the file's order; at least one
  std::string sha256;           // hex, of the whole file
  bool has_text = false;        // some line is text: of the byte tokenizer
  int32_t largest_token = 0;
  int32_t longest = 0;  // tokens of a prompt with its continuation, at most
};

// INVALID_ARGUMENT, with the line and the rule: what is no such object, unknown fields, a token
// that is no whole number from 0 to 2^31 - 1, nothing to read.
absl::StatusOr<PromptFile> ParsePrompts(absl::string_view content, PromptKind kind);

// Of the file at `path`. NOT_FOUND: no such file.
absl::StatusOr<PromptFile> ReadPrompts(const std::string& path, PromptKind kind);

}  // namespace sotto::dataset

#endif  // SOTTO_COMMON_DATASET_PROMPT_FILE_H_
