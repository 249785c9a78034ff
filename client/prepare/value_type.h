// Whether values are written as bytes, which are read as v / 127.5 - 1, or as numbers, read as they
// are.
#ifndef SOTTO_CLIENT_PREPARE_VALUE_TYPE_H_
#define SOTTO_CLIENT_PREPARE_VALUE_TYPE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/prepare/value_records.h"

namespace sotto::client {

// "u8" or "fp32"; "": none, the input's own. INVALID_ARGUMENT lists them.
absl::StatusOr<std::optional<dataset::ValueType>> ParseValueType(absl::string_view name);

// Makes every record of `all` one of this type. INVALID_ARGUMENT: a record does not fit bytes;
// names its place and never its content.
absl::Status Retype(dataset::ValueType type, ValueRecords& all);

// Which records of fp32 would have fitted bytes.
class ByteCensus {
 public:
  // Records of the input `path`.
  void Add(const std::string& path, const ValueRecords& added);

  // What was written: the type, how it is read, and where fp32 may be a mistake (at least half of
  // the records hold bytes alone) the first record that does not.
  std::string Text(dataset::ValueType type) const;

 private:
  int64_t records_ = 0;
  int64_t of_bytes_ = 0;
  std::string first_other_;  // input and place
};

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_VALUE_TYPE_H_
