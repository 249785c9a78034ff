#include "common/checkpoint/safetensors_reader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "common/base/status_macros.h"

namespace sotto::checkpoint {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;   // The reference reader's bound.
constexpr size_t kLeastReleasedBytes = 256 * 1024;  // Less costs more system calls than it frees.

absl::Status NotSafetensors(const std::string& path, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(path, " is not a safetensors file: ", why));
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsReader>> SafetensorsReader::Open(
    const std::string& path) {
  ASSIGN_OR_RETURN(const UniqueFd file, OpenFile(path, O_RDONLY));
  struct stat info;
  if (fstat(file.get(), &info) != 0) return absl::ErrnoToStatus(errno, path);
  const uint64_t size = info.st_size;
  if (!S_ISREG(info.st_mode) || size < kLengthBytes) return NotSafetensors(path, "it is too short");
  void* map = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (map == MAP_FAILED) return absl::ErrnoToStatus(errno, absl::StrCat("cannot map ", path));
  // Owns the map from here on.
  auto reader = std::unique_ptr<SafetensorsReader>(
      new SafetensorsReader({}, static_cast<const uint8_t*>(map), size, kLengthBytes));

  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, reader->bytes_, kLengthBytes);  // Little-endian, as x86 is.
  if (header_bytes > kMaxHeaderBytes || header_bytes > size - kLengthBytes) {
    return NotSafetensors(path, "its header is longer than the file, or than 100 MB");
  }
  const absl::string_view text(reinterpret_cast<const char*>(reader->bytes_) + kLengthBytes,
                               header_bytes);
  reader->data_begin_ = kLengthBytes + header_bytes;
  absl::StatusOr<SafetensorsHeader> header =
      ParseSafetensorsHeader(text, size - reader->data_begin_);
  if (!header.ok()) return NotSafetensors(path, header.status().message());
  reader->header_ = *std::move(header);
  return reader;
}

SafetensorsReader::~SafetensorsReader() { munmap(const_cast<uint8_t*>(bytes_), size_); }

const SafetensorsEntry* SafetensorsReader::Find(absl::string_view name) const {
  const auto found =
      std::find_if(header_.entries.begin(), header_.entries.end(),
                   [&](const SafetensorsEntry& entry) { return entry.name == name; });
  return found == header_.entries.end() ? nullptr : &*found;
}

absl::Span<const uint8_t> SafetensorsReader::Bytes(const SafetensorsEntry& entry) const {
  return {bytes_ + data_begin_ + entry.begin, entry.end - entry.begin};
}

void SafetensorsReader::Release(absl::Span<const uint8_t> bytes) const {
  if (bytes.size() < kLeastReleasedBytes) return;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(bytes.data()) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size());
  static_cast<void>(madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED));
}

absl::Status SafetensorsReader::ReadFloats(absl::string_view name, int64_t begin,
                                           absl::Span<float> values) const {
  const SafetensorsEntry* entry = Find(name);
  if (entry == nullptr) return absl::NotFoundError(absl::StrCat("no tensor ", name));
  if (entry->dtype != "F32") {
    return absl::InvalidArgumentError(absl::StrCat(name, " must be F32, but is ", entry->dtype));
  }
  const int64_t count = values.size();
  if (begin < 0 || begin > entry->num_elements() - count) {
    return absl::InvalidArgumentError(absl::StrCat("elements [", begin, ", ", begin + count,
                                                   ") are outside of ", name, " with ",
                                                   entry->num_elements()));
  }
  if (count == 0) return absl::OkStatus();
  const absl::Span<const uint8_t> bytes =
      Bytes(*entry).subspan(begin * sizeof(float), count * sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  Release(bytes);
  return absl::OkStatus();
}

}  // namespace sotto::checkpoint
