// The header of a safetensors file: which tensors, where.
//
//   [8 bytes little-endian H][H bytes JSON][data]      JSON: name -> {dtype, shape, data_offsets:
//   [begin, end)}
#ifndef SOTTO_COMMON_CHECKPOINT_SAFETENSORS_HEADER_H_
#define SOTTO_COMMON_CHECKPOINT_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sotto::checkpoint {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // "F32", "BF16", ...
  std::vector<int64_t> shape;
  uint64_t begin = 0;  // bytes, from the start of the data
  uint64_t end = 0;

  int64_t num_elements() const;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // ascending by begin
  std::map<std::string, std::string> metadata;
};

// Bytes of one element; 0 for a dtype that is not known (or smaller than a byte).
int ItemBytes(absl::string_view dtype);

// Checks what the reference reader enforces: valid JSON of one object, no duplicate names, known
// dtypes, end - begin = elements x item size (without overflow), intervals that cover [0,
// data_bytes) without hole or overlap. The text is hostile until proven otherwise: depth, number of
// tensors and name lengths are bounded. INVALID_ARGUMENT otherwise.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json,
                                                         uint64_t data_bytes);

// As the reference writer: padded with spaces to a multiple of 8 bytes.
std::string FormatSafetensorsHeader(const SafetensorsHeader& header);

}  // namespace sotto::checkpoint

#endif  // SOTTO_COMMON_CHECKPOINT_SAFETENSORS_HEADER_H_
