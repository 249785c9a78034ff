#include "common/dataset/token_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace sotto::dataset {

namespace {

// The files are little-endian, and so is every machine this runs on.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

constexpr size_t kPrefixBytes = 16;
constexpr uint64_t kMaxHeaderBytes = 1 << 20;

template <typename T>
T LoadAt(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

struct ParsedHeader {
  TokenFileHeader header;
  size_t data_begin = 0;
};

// Bytes of the parts of a file, in their order.
struct Parts {
  uint64_t offsets = 0, tokens = 0, scored = 0;
  uint64_t values = 0;
  uint64_t labels = 0, targets = 0;

  uint64_t sum() const { return offsets + tokens + scored + values + labels + targets; }
};

Parts PartsOf(const TokenFileHeader& header) {
  const auto records = static_cast<uint64_t>(header.records);
  Parts parts;
  if (header.has_values()) {
    const uint64_t bytes = header.value_type == ValueType::kUint8 ? 1 : sizeof(float);
    parts.values = (records * static_cast<uint64_t>(header.num_values()) * bytes + 3) / 4 * 4;
  } else {
    const auto tokens = static_cast<uint64_t>(header.tokens);
    parts.offsets = sizeof(uint64_t) * (records + 1);
    parts.tokens = tokens * static_cast<uint64_t>(header.token_bytes);
    parts.scored = tokens;
  }
  if (header.classes > 0) parts.labels = sizeof(int32_t) * records;
  parts.targets = sizeof(float) * records * static_cast<uint64_t>(header.targets);
  return parts;
}

absl::StatusOr<ParsedHeader> ParseHeader(const std::string& path, const uint8_t* bytes,
                                         size_t size) {
  if (size < kPrefixBytes ||
      std::memcmp(bytes, kTokenFileMagic.data(), kTokenFileMagic.size()) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a token file"));
  }
  const uint64_t header_bytes = LoadAt<uint64_t>(bytes + 8);
  if (header_bytes > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": the header must be at most ", kMaxHeaderBytes, " bytes, but is ", header_bytes));
  }
  if (size - kPrefixBytes < header_bytes) {
    return absl::DataLossError(absl::StrCat(path, " is truncated: it ends inside its header"));
  }
  ParsedHeader parsed;
  ASSIGN_OR_RETURN(parsed.header,
                   DecodeHeader(absl::string_view(
                       reinterpret_cast<const char*>(bytes) + kPrefixBytes, header_bytes)));
  parsed.data_begin = (kPrefixBytes + header_bytes + 7) / 8 * 8;
  const uint64_t expected = parsed.data_begin + PartsOf(parsed.header).sum();
  if (size < expected) {
    return absl::DataLossError(
        absl::StrCat(path, " is truncated: it declares ", expected, " bytes, but has ", size));
  }
  if (size > expected) {
    return absl::DataLossError(absl::StrCat(path, " is longer than declared: it declares ",
                                            expected, " bytes, but has ", size));
  }
  return parsed;
}

}  // namespace

absl::StatusOr<std::unique_ptr<TokenFile>> TokenFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(UniqueFd file, OpenFile(path, O_RDONLY));
  struct stat status;
  if (fstat(file.get(), &status) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot stat ", path));
  }
  if (!S_ISREG(status.st_mode) || status.st_size == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is not a token file"));
  }
  const size_t size = static_cast<size_t>(status.st_size);
  void* mapped = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (mapped == MAP_FAILED) return absl::ErrnoToStatus(errno, absl::StrCat("cannot map ", path));
  const uint8_t* bytes = static_cast<const uint8_t*>(mapped);
  absl::StatusOr<ParsedHeader> parsed = ParseHeader(path, bytes, size);
  if (!parsed.ok()) {
    munmap(mapped, size);
    return parsed.status();
  }
  return std::unique_ptr<TokenFile>(
      new TokenFile(std::move(parsed->header), bytes, size, parsed->data_begin));
}

TokenFile::TokenFile(TokenFileHeader header, const uint8_t* bytes, size_t size, size_t data_begin)
    : header_(std::move(header)), bytes_(bytes), size_(size) {
  const Parts parts = PartsOf(header_);
  offsets_ = bytes + data_begin;
  tokens_ = offsets_ + parts.offsets;
  scored_ = tokens_ + parts.tokens;
  values_ = scored_ + parts.scored;
  labels_ = values_ + parts.values;
  targets_ = labels_ + parts.labels;
}

TokenFile::~TokenFile() { munmap(const_cast<uint8_t*>(bytes_), size_); }

uint64_t TokenFile::Offset(int64_t record) const { return LoadAt<uint64_t>(offsets_ + 8 * record); }

int64_t TokenFile::TokenAt(uint64_t index) const {
  if (header_.token_bytes == 2) return LoadAt<uint16_t>(tokens_ + 2 * index);
  return LoadAt<uint32_t>(tokens_ + 4 * index);
}

int64_t TokenFile::Length(int64_t record) const {
  SOTTO_CHECK(record >= 0 && record < header_.records);
  if (header_.has_values()) return 1;
  return static_cast<int64_t>(Offset(record + 1) - Offset(record));
}

void TokenFile::Read(int64_t record, absl::Span<int64_t> tokens, absl::Span<float> scored) const {
  const int64_t length = Length(record);
  SOTTO_CHECK(tokens.size() == length && scored.size() == length);
  if (header_.has_values()) {
    tokens[0] = 0;
    scored[0] = 0;
    return;
  }
  const uint64_t begin = Offset(record);
  for (int64_t t = 0; t < length; ++t) {
    tokens[t] = TokenAt(begin + t);
    scored[t] = scored_[begin + t];
  }
}

int32_t TokenFile::Label(int64_t record) const {
  SOTTO_CHECK(header_.classes > 0 && record >= 0 && record < header_.records);
  return LoadAt<int32_t>(labels_ + sizeof(int32_t) * record);
}

void TokenFile::ReadValues(int64_t record, absl::Span<float> values) const {
  const int64_t count = header_.num_values();
  SOTTO_CHECK(header_.has_values() && record >= 0 && record < header_.records &&
              values.size() == count);
  if (header_.value_type == ValueType::kFloat32) {
    std::memcpy(values.data(), values_ + sizeof(float) * record * count, sizeof(float) * count);
    return;
  }
  const uint8_t* own = values_ + record * count;
  for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(own[i]) / 127.5f - 1;
}

void TokenFile::ReadTargets(int64_t record, absl::Span<float> targets) const {
  SOTTO_CHECK(record >= 0 && record < header_.records && targets.size() == header_.targets);
  std::memcpy(targets.data(), targets_ + sizeof(float) * record * header_.targets,
              sizeof(float) * header_.targets);
}

absl::Status TokenFile::Broken(Audience audience, int64_t record, absl::string_view rule,
                               absl::string_view value) const {
  if (audience == Audience::kWorker) {
    return absl::InvalidArgumentError(absl::StrCat("token file: ", rule));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("token file: ", rule, ", but record ", record, " has ", value));
}

absl::Status TokenFile::ValidateTokens(Audience audience) const {
  if (Offset(0) != 0) return absl::InvalidArgumentError("token file: offsets must start at 0");
  for (int64_t record = 0; record < header_.records; ++record) {
    const uint64_t begin = Offset(record);
    const uint64_t end = Offset(record + 1);
    if (end <= begin || end > static_cast<uint64_t>(header_.tokens)) {
      return Broken(audience, record, "offsets must ascend up to the number of tokens",
                    absl::StrCat(end));
    }
    const int64_t length = static_cast<int64_t>(end - begin);
    if (length > header_.max_length) {
      return Broken(audience, record,
                    absl::StrCat("records have at most ", header_.max_length, " tokens"),
                    absl::StrCat(length));
    }
    for (uint64_t index = begin; index < end; ++index) {
      const int64_t token = TokenAt(index);
      if (token >= header_.vocabulary_size) {
        return Broken(audience, record,
                      absl::StrCat("tokens are in [0, ", header_.vocabulary_size, ")"),
                      absl::StrCat(token));
      }
      if (scored_[index] > 1) {
        return Broken(audience, record, "loss masks are 0 or 1", absl::StrCat(scored_[index]));
      }
    }
  }
  if (Offset(header_.records) != static_cast<uint64_t>(header_.tokens)) {
    return absl::InvalidArgumentError("token file: the last offset must be the number of tokens");
  }
  return absl::OkStatus();
}

absl::Status TokenFile::ValidateLabels(Audience audience) const {
  for (int64_t record = 0; header_.classes > 0 && record < header_.records; ++record) {
    const int32_t label = Label(record);
    if (label < 0 || label >= header_.classes) {
      return Broken(audience, record, absl::StrCat("labels are in [0, ", header_.classes, ")"),
                    absl::StrCat(label));
    }
  }
  return absl::OkStatus();
}

absl::Status TokenFile::ValidateValues(Audience audience) const {
  const auto is_finite = [](float value) { return std::isfinite(value); };
  std::vector<float> values(header_.has_values() ? header_.num_values() : 0);
  std::vector<float> targets(header_.targets);
  for (int64_t record = 0; header_.has_values() && record < header_.records; ++record) {
    ReadValues(record, absl::MakeSpan(values));
    if (!std::ranges::all_of(values, is_finite)) {
      return Broken(audience, record, "values are finite", "one that is not");
    }
    ReadTargets(record, absl::MakeSpan(targets));
    if (!std::ranges::all_of(targets, is_finite)) {
      return Broken(audience, record, "targets are finite", "one that is not");
    }
  }
  return absl::OkStatus();
}

absl::Status TokenFile::Validate(Audience audience) const {
  if (!header_.has_values()) RETURN_IF_ERROR(ValidateTokens(audience));
  RETURN_IF_ERROR(ValidateLabels(audience));
  return ValidateValues(audience);
}

std::string TokenFile::HexSha256() const {
  return crypto::HexSha256(absl::string_view(reinterpret_cast<const char*>(bytes_), size_));
}

absl::Status CheckRegistered(const TokenFile& file, const std::string& sha256,
                             int64_t max_records) {
  if (file.HexSha256() != sha256) {
    return absl::FailedPreconditionError(
        "the token file changed since it was registered (its SHA-256 differs)");
  }
  if (file.num_records() > max_records) {
    return absl::InvalidArgumentError(absl::StrCat(
        "token file: more records than the ", max_records, " that were declared at registration"));
  }
  return file.Validate(TokenFile::Audience::kWorker);
}

}  // namespace sotto::dataset
