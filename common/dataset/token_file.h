// Reads a token file, or a file of images or vectors, through a read-only memory map.
#ifndef SOTTO_COMMON_DATASET_TOKEN_FILE_H_
#define SOTTO_COMMON_DATASET_TOKEN_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/dataset/token_file_header.h"

namespace sotto::dataset {

// Immutable after Open; thread-safe.
class TokenFile {
 public:
  // Checks the header and that the file has exactly the size it declares; not the records (see
  // Validate). NOT_FOUND: no such file. INVALID_ARGUMENT: not a token file. DATA_LOSS: truncated,
  // or longer than declared.
  static absl::StatusOr<std::unique_ptr<TokenFile>> Open(const std::string& path);
  ~TokenFile();
  TokenFile(const TokenFile&) = delete;
  TokenFile& operator=(const TokenFile&) = delete;

  const TokenFileHeader& header() const { return header_; }
  int64_t num_records() const { return header_.records; }

  // Tokens of a record. Records are 0 <= record < num_records().
  int64_t Length(int64_t record) const;

  // Copies a record's tokens and loss mask; both outputs have Length(record) elements. scored[t]:
  // the prediction of token t (from the tokens before it) counts in the loss; scored[0] is never
  // used.
  void Read(int64_t record, absl::Span<int64_t> tokens, absl::Span<float> scored) const;

  // The values of a record of an image or vector, channels * height * width of them. Bytes come
  // centred: v / 127.5 - 1. Only where header().has_values(); such a record has Length 1, its token
  // is 0 and is not scored.
  void ReadValues(int64_t record, absl::Span<float> values) const;
  // What a model shall predict, header().targets of them.
  void ReadTargets(int64_t record, absl::Span<float> targets) const;

  // The record's class. Only where header().classes is positive.
  int32_t Label(int64_t record) const;

  // Who reads an error message of Validate.
  enum class Audience {
    kSteward,  // registration by the data's steward: names record and value
    kWorker,   // a job: says only which rule was broken, never which record
  };

  // Reads the whole file: offsets ascending from 0, no record empty or longer than max_length,
  // tokens within the vocabulary, masks 0 or 1, labels within the classes, values and targets
  // finite. INVALID_ARGUMENT: the
  // first rule that is broken.
  absl::Status Validate(Audience audience) const;

  // SHA-256 of the whole file, hex. What registration records, and what workers compare before the
  // first grant.
  std::string HexSha256() const;

 private:
  TokenFile(TokenFileHeader header, const uint8_t* bytes, size_t size, size_t data_begin);

  // How a broken rule is told.
  absl::Status Broken(Audience audience, int64_t record, absl::string_view rule,
                      absl::string_view value) const;
  absl::Status ValidateTokens(Audience audience) const;
  absl::Status ValidateLabels(Audience audience) const;
  absl::Status ValidateValues(Audience audience) const;

  uint64_t Offset(int64_t record) const;
  int64_t TokenAt(uint64_t index) const;

  TokenFileHeader header_;
  const uint8_t* bytes_;
  size_t size_;
  const uint8_t* offsets_;
  const uint8_t* tokens_;
  const uint8_t* scored_;
  const uint8_t* values_;
  const uint8_t* labels_;
  const uint8_t* targets_;
};

// What a worker checks before its first grant: the whole file, its SHA-256 and its number of
// records. FAILED_PRECONDITION: the file is not the one that was registered. INVALID_ARGUMENT: a
// rule is broken, or there are more records than `max_records`.
absl::Status CheckRegistered(const TokenFile& file, const std::string& sha256, int64_t max_records);

}  // namespace sotto::dataset

#endif  // SOTTO_COMMON_DATASET_TOKEN_FILE_H_
