#include "client/prepare/value_type.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace sotto::client {
namespace {

using dataset::ValueType;

constexpr char kBytes[] = "whole numbers from 0 to 255";

bool HoldsBytes(const ValueRecord& record) {
  return std::all_of(record.floats.begin(), record.floats.end(), [](float value) {
    return value >= 0 && value <= 255 && value == std::floor(value);
  });
}

}  // namespace

absl::StatusOr<std::optional<ValueType>> ParseValueType(absl::string_view name) {
  if (name.empty()) return std::nullopt;
  if (name == "u8") return ValueType::kUint8;
  if (name == "fp32") return ValueType::kFloat32;
  return absl::InvalidArgumentError(absl::StrCat("--dtype must be u8 or fp32, but is ", name));
}

absl::Status Retype(ValueType type, ValueRecords& all) {
  if (type == all.options.value_type) return absl::OkStatus();
  for (ValueRecord& record : all.records) {
    if (type == ValueType::kFloat32) {
      record.floats.assign(record.bytes.begin(), record.bytes.end());
      record.bytes.clear();
      continue;
    }
    if (!HoldsBytes(record)) {
      return absl::InvalidArgumentError(
          absl::StrCat("line or row ", record.place, " must hold ", kBytes, " for --dtype u8"));
    }
    record.bytes.assign(record.floats.begin(), record.floats.end());
    record.floats.clear();
  }
  all.options.value_type = type;
  return absl::OkStatus();
}

void ByteCensus::Add(const std::string& path, const ValueRecords& added) {
  for (const ValueRecord& record : added.records) {
    ++records_;
    if (HoldsBytes(record)) {
      ++of_bytes_;
    } else if (first_other_.empty()) {
      first_other_ = absl::StrCat(path, ": line or row ", record.place);
    }
  }
}

std::string ByteCensus::Text(ValueType type) const {
  if (type == ValueType::kUint8) return "u8, read as v / 127.5 - 1";
  const std::string text = "fp32, read as they are";
  if (of_bytes_ == records_) {
    return absl::StrCat(text, "; all are ", kBytes,
                        ": --dtype u8 writes bytes, read as v / 127.5 - 1");
  }
  if (2 * of_bytes_ < records_) return text;
  return absl::StrCat(text, "; ", of_bytes_, " of ", records_, " records hold only ", kBytes, ", ",
                      first_other_, " is the first that does not");
}

}  // namespace sotto::client
