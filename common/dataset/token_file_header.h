// The layout of a token file.
//
//   "SOTTOTK1"                       8 bytes
//   header length H                  8 bytes, little-endian; at most 1 MiB
//   header                           H bytes of JSON (the fields of TokenFileHeader)
//   zeros up to a multiple of 8
//   offsets                          (records + 1) x uint64: first token of each record, then the
//   number of tokens tokens                           tokens x token_bytes (2 or 4), little-endian
//   scored                           tokens x 1 byte, 0 or 1: whether predicting this token counts
//   in the loss
//   labels                           records x int32, little-endian: the record's class; only where
//   the header has classes
//
// A record is one privacy unit. Its file is identified by its SHA-256.
#ifndef SOTTO_COMMON_DATASET_TOKEN_FILE_HEADER_H_
#define SOTTO_COMMON_DATASET_TOKEN_FILE_HEADER_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sotto::dataset {

inline constexpr absl::string_view kTokenFileMagic = "SOTTOTK1";
inline constexpr int kTokenFileFormatVersion = 1;

struct TokenFileHeader {
  int32_t format_version = kTokenFileFormatVersion;
  std::string tokenizer;        // "bytes"
  int32_t vocabulary_size = 0;  // tokens are in [0, vocabulary_size)
  int32_t max_length = 0;       // tokens per record at most (longer ones were truncated)
  int32_t token_bytes = 2;      // 2 or 4
  int64_t records = 0;
  int64_t tokens = 0;
  int64_t truncated_records = 0;
  int32_t classes = 0;  // labels are in [0, classes); 0: the file has none

  friend bool operator==(const TokenFileHeader&, const TokenFileHeader&) = default;
};

std::string EncodeHeader(const TokenFileHeader& header);

// INVALID_ARGUMENT: not JSON, a field missing, unknown, of a wrong type or out of its range. Names
// the field.
absl::StatusOr<TokenFileHeader> DecodeHeader(absl::string_view json);

}  // namespace sotto::dataset

#endif  // SOTTO_COMMON_DATASET_TOKEN_FILE_HEADER_H_
