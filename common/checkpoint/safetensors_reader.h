// Reads a safetensors file through a read-only memory map.
#ifndef SOTTO_COMMON_CHECKPOINT_SAFETENSORS_READER_H_
#define SOTTO_COMMON_CHECKPOINT_SAFETENSORS_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/checkpoint/safetensors_header.h"

namespace sotto::checkpoint {

// Immutable after Open; thread-safe.
class SafetensorsReader {
 public:
  // NOT_FOUND: no such file. INVALID_ARGUMENT: not a safetensors file, or a hostile one.
  static absl::StatusOr<std::unique_ptr<SafetensorsReader>> Open(const std::string& path);
  ~SafetensorsReader();
  SafetensorsReader(const SafetensorsReader&) = delete;
  SafetensorsReader& operator=(const SafetensorsReader&) = delete;

  const SafetensorsHeader& header() const { return header_; }

  // Null when there is none of this name.
  const SafetensorsEntry* Find(absl::string_view name) const;

  // The raw bytes of a tensor: little-endian, row-major. Valid as long as the reader.
  absl::Span<const uint8_t> Bytes(const SafetensorsEntry& entry) const;

  // Takes these bytes' pages off the process's resident set: a later read brings them back. For who
  // has copied them. Best effort.
  void Release(absl::Span<const uint8_t> bytes) const;

  // Copies elements [begin, begin + size) of an F32 tensor. NOT_FOUND: no such tensor.
  // INVALID_ARGUMENT: another dtype, or out of its range.
  absl::Status ReadFloats(absl::string_view name, int64_t begin, absl::Span<float> values) const;

 private:
  SafetensorsReader(SafetensorsHeader header, const uint8_t* bytes, size_t size, size_t data_begin)
      : header_(std::move(header)), bytes_(bytes), size_(size), data_begin_(data_begin) {}

  SafetensorsHeader header_;
  const uint8_t* bytes_;
  size_t size_;
  size_t data_begin_;
};

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_SAFETENSORS_READER_H_
