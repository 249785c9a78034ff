// Splits input files into records.
#ifndef SOTTO_CLIENT_PREPARE_RECORD_READER_H_
#define SOTTO_CLIENT_PREPARE_RECORD_READER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/prepare/text_record.h"

namespace sotto::client {

enum class RecordFormat {
  kLines,    // one record a line
  kPercent,  // records separated by lines that hold one "%", as in fortune files
  kJsonl,    // one JSON object a line: {"text": ...} or {"prompt": ..., "completion": ...}; with
             // classes also {"label": ...}
  kCsv,      // RFC 4180 with a header line; one column is the text
  kTokens,   // JSON lines of tokens: not text, read by token_reader.h
  kValues,   // JSON lines of images or vectors: value_reader.h
  kSafetensors,  // tensors of images or vectors: value_reader.h
};

struct RecordReaderOptions {
  RecordFormat format = RecordFormat::kLines;
  std::string column = "text";  // kCsv: name of the text's column; kJsonl: name of the text's field
  int32_t classes = 0;          // kJsonl: every record has a label below this; 0: none has
};

// The records of `content`, in order; records that hold only white space are left out.
// INVALID_ARGUMENT: what is not of the format, with the line's number and never its text; a format
// that is no text.
absl::StatusOr<std::vector<TextRecord>> ReadRecords(absl::string_view content,
                                                    const RecordReaderOptions& options);

// "lines", "percent", "jsonl", "csv", "tokens", "values", "safetensors". INVALID_ARGUMENT lists
// them.
absl::StatusOr<RecordFormat> ParseRecordFormat(absl::string_view name);

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_RECORD_READER_H_
