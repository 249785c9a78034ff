// Reads images and vectors from public formats.
#ifndef SOTTO_CLIENT_PREPARE_VALUE_READER_H_
#define SOTTO_CLIENT_PREPARE_VALUE_READER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/prepare/value_records.h"

namespace sotto::client {

// JSON lines {"values": [...], "label": n, "targets": [...]}, each record of the same number of
// values and targets; "label" where there are classes, and only there. `shape`: channels, height,
// width of the values, empty for vectors. INVALID_ARGUMENT: anything else, with the line's number
// and never its content.
absl::StatusOr<ValueRecords> ReadValueLines(absl::string_view content,
                                            const std::vector<int32_t>& shape, int32_t classes);

// A safetensors file with `images` [N, C, H, W] (U8 or F32) or `vectors` [N, K] (F32), `labels`
// [N] (I64) where there are classes, and `targets` [N, K] (F32) where it has any. Other tensors are
// refused. NOT_FOUND: no such file. INVALID_ARGUMENT: anything else; names the tensor.
absl::StatusOr<ValueRecords> ReadValueTensors(const std::string& path, int32_t classes);

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_VALUE_READER_H_
