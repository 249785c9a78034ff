// Records that another program has tokenised, as JSON lines.
#ifndef SOTTO_CLIENT_PREPARE_TOKEN_READER_H_
#define SOTTO_CLIENT_PREPARE_TOKEN_READER_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/prepare/tokenized_record.h"

namespace sotto::client {

// The first line is {"tokenizer": NAME, "vocabulary_size": N}, every other one
// {"tokens": [...], "scored": [...]}: token numbers in [0, N), and for each of them 0 or 1
// ("scored" left out: all ones); with `classes` also "label": a whole number below them. The end of
// a record is a token like any other. Blank lines are left out. INVALID_ARGUMENT: anything else,
// with the line's number and never its content.
absl::StatusOr<TokenizedRecords> ReadTokens(absl::string_view content, int32_t classes = 0);

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_TOKEN_READER_H_
