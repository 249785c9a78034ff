#include "common/checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/safetensors_header.h"

namespace sotto::checkpoint {
namespace {

absl::Status DiskError(const absl::Status& status) {
  if (status.ok()) return status;
  return absl::UnavailableError(status.message());
}

// Tensors one after the other, in the order of `tensors`.
absl::StatusOr<SafetensorsHeader> PlaceTensors(absl::Span<const TensorShape> tensors) {
  SafetensorsHeader header;
  std::set<std::string> names;
  uint64_t position = 0;
  for (const TensorShape& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", tensor.name, " is declared twice"));
    }
    SafetensorsEntry entry = {.name = tensor.name, .dtype = "F32", .shape = tensor.shape};
    entry.begin = position;
    position += entry.num_elements() * sizeof(float);
    entry.end = position;
    header.entries.push_back(std::move(entry));
  }
  return header;
}

}  // namespace

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(
    const std::string& path, absl::Span<const TensorShape> tensors,
    const std::map<std::string, std::string>& metadata) {
  ASSIGN_OR_RETURN(SafetensorsHeader header, PlaceTensors(tensors));
  header.metadata = metadata;
  const uint64_t data_bytes = header.entries.empty() ? 0 : header.entries.back().end;
  const std::string text = FormatSafetensorsHeader(header);

  absl::StatusOr<UniqueFd> file = OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file.ok()) return DiskError(file.status());
  SafetensorsWriter writer(*std::move(file), data_bytes / sizeof(float));
  const uint64_t length = text.size();
  RETURN_IF_ERROR(writer.Write(&length, sizeof(length)));  // Little-endian, as x86 is.
  RETURN_IF_ERROR(writer.Write(text.data(), text.size()));
  return writer;
}

absl::Status SafetensorsWriter::Append(absl::Span<const float> values) {
  const int64_t count = values.size();
  if (count > remaining_elements_) {
    return absl::InvalidArgumentError(absl::StrCat(count, " elements are appended, but only ",
                                                   remaining_elements_, " are still declared"));
  }
  remaining_elements_ -= count;
  return Write(values.data(), count * sizeof(float));
}

absl::StatusOr<std::string> SafetensorsWriter::Finish() {
  if (remaining_elements_ != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(remaining_elements_, " declared elements were not written"));
  }
  if (fsync(file_.get()) != 0 || close(file_.Release()) != 0) {
    return DiskError(absl::ErrnoToStatus(errno, "cannot sync"));
  }
  return crypto::HexOf(hash_.Finish());
}

absl::Status SafetensorsWriter::Write(const void* bytes, size_t count) {
  const absl::string_view text(static_cast<const char*>(bytes), count);
  hash_.Update(text);
  RETURN_IF_ERROR(DiskError(WriteAll(file_.get(), text)));
  bytes_written_ += count;
  return absl::OkStatus();
}

}  // namespace sotto::checkpoint
