// Writes a token file.
#ifndef SOTTO_COMMON_DATASET_TOKEN_FILE_WRITER_H_
#define SOTTO_COMMON_DATASET_TOKEN_FILE_WRITER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/dataset/token_file_header.h"

namespace sotto::dataset {

// Keeps the records in memory (a record is small, and so is the text on one machine) and writes
// them at Finish, through a temporary file and a rename: a file that is there is whole. Externally
// synchronised.
class TokenFileWriter {
 public:
  static constexpr int32_t kNoLabel = -1;

  struct Options {
    std::string tokenizer = "bytes";
    int32_t vocabulary_size = 257;
    int32_t max_length = 0;  // required
    int32_t classes = 0;     // above 0: every record has a label in [0, classes)
  };

  // INVALID_ARGUMENT: an option out of its range.
  static absl::StatusOr<TokenFileWriter> Create(std::string path, Options options);

  // Adds one record; longer than max_length: cut to it and counted, never split. `scored` is empty
  // (all tokens count) or has one element per token. `label` is ignored in a file without classes.
  // INVALID_ARGUMENT: an empty record, a token outside the vocabulary, a label outside the classes,
  // sizes that differ.
  absl::Status Add(absl::Span<const int32_t> tokens, absl::Span<const uint8_t> scored,
                   int32_t label = kNoLabel);

  int64_t records() const { return header_.records; }
  int64_t truncated_records() const { return header_.truncated_records; }

  // Returns the SHA-256 of the file, hex. Call once, last. UNAVAILABLE: the disk.
  absl::StatusOr<std::string> Finish();

 private:
  TokenFileWriter(std::string path, TokenFileHeader header);

  std::string path_;
  TokenFileHeader header_;
  std::vector<uint64_t> offsets_;
  std::vector<int32_t> tokens_;
  std::vector<uint8_t> scored_;
  std::vector<int32_t> labels_;
};

}  // namespace sotto::dataset

#endif  // SOTTO_COMMON_DATASET_TOKEN_FILE_WRITER_H_
