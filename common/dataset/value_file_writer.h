// Writes a file of images or vectors (token_file_header.h).
#ifndef SOTTO_COMMON_DATASET_VALUE_FILE_WRITER_H_
#define SOTTO_COMMON_DATASET_VALUE_FILE_WRITER_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/dataset/token_file_header.h"

namespace sotto::dataset {

// Keeps the records in memory and writes them at Finish, as TokenFileWriter does. Externally
// synchronised.
class ValueFileWriter {
 public:
  struct Options {
    ValueType value_type = ValueType::kFloat32;
    std::array<int32_t, 3> shape = {1, 1, 0};  // channels, height, width; vectors: 1, 1, values
    int32_t classes = 0;                       // above 0: every record has a label in [0, classes)
    int32_t targets = 0;  // above 0: every record has as many values to predict
  };

  // INVALID_ARGUMENT: an option out of its range.
  static absl::StatusOr<ValueFileWriter> Create(std::string path, const Options& options);

  // Adds one record of the file's value type. `label` is ignored in a file without classes.
  // INVALID_ARGUMENT: numbers of values or targets that differ from the options', a label outside
  // the classes, a value or target that is not finite, the other value type.
  absl::Status Add(absl::Span<const float> values, int32_t label, absl::Span<const float> targets);
  absl::Status Add(absl::Span<const uint8_t> values, int32_t label,
                   absl::Span<const float> targets);

  int64_t records() const { return header_.records; }

  // Returns the SHA-256 of the file, hex. Call once, last. UNAVAILABLE: the disk.
  absl::StatusOr<std::string> Finish();

 private:
  ValueFileWriter(std::string path, const TokenFileHeader& header)
      : path_(std::move(path)), header_(header) {}

  absl::Status CheckRecord(ValueType type, size_t values, int32_t label,
                           absl::Span<const float> targets) const;
  void AddRest(int32_t label, absl::Span<const float> targets);

  std::string path_;
  TokenFileHeader header_;
  std::string values_;
  std::string labels_;
  std::string targets_;
};

}  // namespace sotto::dataset

#endif  // SOTTO_COMMON_DATASET_VALUE_FILE_WRITER_H_
