#include "common/dataset/value_file_writer.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace sotto::dataset {
namespace {

void AppendBytes(const void* data, size_t size, std::string& bytes) {
  bytes.append(static_cast<const char*>(data), size);
}

// `what`: "value" or "target".
absl::Status CheckFinite(const char* what, absl::Span<const float> values, int64_t record) {
  const auto found =
      std::ranges::find_if(values, [](float value) { return !std::isfinite(value); });
  if (found == values.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("record ", record, ": ", what, " ",
                                                 found - values.begin(), " must be finite, but is ",
                                                 *found));
}

}  // namespace

absl::StatusOr<ValueFileWriter> ValueFileWriter::Create(std::string path, const Options& options) {
  const TokenFileHeader header = {.format_version = kValueFileFormatVersion,
                                  .max_length = 1,
                                  .classes = options.classes,
                                  .value_type = options.value_type,
                                  .shape = options.shape,
                                  .targets = options.targets};
  if (!header.has_values() || options.classes < 0 || options.targets < 0) {
    return absl::InvalidArgumentError(
        "a value type is needed, and neither classes nor targets may be negative");
  }
  RETURN_IF_ERROR(DecodeHeader(EncodeHeader(header)).status());  // Its rules are the reader's.
  return ValueFileWriter(std::move(path), header);
}

absl::Status ValueFileWriter::CheckRecord(ValueType type, size_t values, int32_t label,
                                          absl::Span<const float> targets) const {
  if (type != header_.value_type) {
    return absl::InvalidArgumentError("a record's values must be of the file's type");
  }
  if (static_cast<int64_t>(values) != header_.num_values()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a record must have ", header_.num_values(), " values, but one has ", values));
  }
  if (header_.classes > 0 && (label < 0 || label >= header_.classes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("labels are in [0, ", header_.classes, "), but one is ", label));
  }
  if (static_cast<int64_t>(targets.size()) != header_.targets) {
    return absl::InvalidArgumentError(absl::StrCat("a record must have ", header_.targets,
                                                   " targets, but one has ", targets.size()));
  }
  return CheckFinite("target", targets, header_.records);
}

void ValueFileWriter::AddRest(int32_t label, absl::Span<const float> targets) {
  if (header_.classes > 0) AppendBytes(&label, sizeof(label), labels_);
  AppendBytes(targets.data(), targets.size() * sizeof(float), targets_);
  ++header_.records;
}

absl::Status ValueFileWriter::Add(absl::Span<const float> values, int32_t label,
                                  absl::Span<const float> targets) {
  RETURN_IF_ERROR(CheckRecord(ValueType::kFloat32, values.size(), label, targets));
  RETURN_IF_ERROR(CheckFinite("value", values, header_.records));
  AppendBytes(values.data(), values.size() * sizeof(float), values_);
  AddRest(label, targets);
  return absl::OkStatus();
}

absl::Status ValueFileWriter::Add(absl::Span<const uint8_t> values, int32_t label,
                                  absl::Span<const float> targets) {
  RETURN_IF_ERROR(CheckRecord(ValueType::kUint8, values.size(), label, targets));
  AppendBytes(values.data(), values.size(), values_);
  AddRest(label, targets);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ValueFileWriter::Finish() {
  const std::string header = EncodeHeader(header_);
  const uint64_t header_bytes = header.size();
  std::string bytes(kTokenFileMagic.data(), kTokenFileMagic.size());
  AppendBytes(&header_bytes, sizeof(header_bytes), bytes);
  bytes += header;
  bytes.resize((bytes.size() + 7) / 8 * 8, '\0');
  bytes += values_;
  bytes.resize((bytes.size() + 3) / 4 * 4, '\0');
  bytes += labels_;
  bytes += targets_;
  RETURN_IF_ERROR(AtomicWriteFile(path_, bytes));
  return crypto::HexSha256(bytes);
}

}  // namespace sotto::dataset
