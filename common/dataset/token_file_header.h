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
// A file of images or vectors (format version 2) has in place of offsets, tokens and scored
//
//   values     records x channels x height x width of u8 or little-endian fp32, row-major; zeros up
//              to a multiple of 4 bytes
//
// then its labels, and
//
//   targets    records x targets x fp32, little-endian: what a model shall predict; only where the
//              header has targets
//
// A record is one privacy unit. Its file is identified by its SHA-256.
#ifndef SOTTO_COMMON_DATASET_TOKEN_FILE_HEADER_H_
#define SOTTO_COMMON_DATASET_TOKEN_FILE_HEADER_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sotto::dataset {

inline constexpr absl::string_view kTokenFileMagic = "SOTTOTK1";
inline constexpr int kTokenFileFormatVersion = 1;
inline constexpr int kValueFileFormatVersion = 2;

// Of the values of images and vectors.
enum class ValueType { kNone, kUint8, kFloat32 };

// Of a file of values: no tokenizer, vocabulary or tokens; every record has length 1 (max_length).
struct TokenFileHeader {
  int32_t format_version = kTokenFileFormatVersion;
  std::string tokenizer;        // "bytes"
  int32_t vocabulary_size = 0;  // tokens are in [0, vocabulary_size)
  int32_t max_length = 0;       // tokens per record at most (longer ones were truncated)
  int32_t token_bytes = 2;      // 2 or 4
  int64_t records = 0;
  int64_t tokens = 0;
  int64_t truncated_records = 0;
  int32_t classes = 0;                       // labels are in [0, classes); 0: the file has none
  ValueType value_type = ValueType::kNone;   // kNone: records are tokens
  std::array<int32_t, 3> shape = {0, 0, 0};  // channels, height, width; vectors: 1, 1, values
  int32_t targets = 0;                       // values that a model shall predict; 0: none

  bool has_values() const { return value_type != ValueType::kNone; }
  // Of one record.
  int64_t num_values() const { return int64_t{shape[0]} * shape[1] * shape[2]; }

  friend bool operator==(const TokenFileHeader&, const TokenFileHeader&) = default;
};

std::string EncodeHeader(const TokenFileHeader& header);

// INVALID_ARGUMENT: not JSON, a field missing, unknown, of a wrong type or out of its range. Names
// the field.
absl::StatusOr<TokenFileHeader> DecodeHeader(absl::string_view json);

}  // namespace sotto::dataset

#endif  // SOTTO_COMMON_DATASET_TOKEN_FILE_HEADER_H_
