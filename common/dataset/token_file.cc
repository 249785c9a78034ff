#include "common/dataset/token_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

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

uint64_t LabelBytes(const TokenFileHeader& header) {
  return header.classes > 0 ? sizeof(int32_t) * static_cast<uint64_t>(header.records) : 0;
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
  const uint64_t tokens = static_cast<uint64_t>(parsed.header.tokens);
  const uint64_t expected = parsed.data_begin + 8 * (parsed.header.records + 1) +
                            tokens * parsed.header.token_bytes + tokens + LabelBytes(parsed.header);
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
    : header_(std::move(header)),
      bytes_(bytes),
      size_(size),
      offsets_(bytes + data_begin),
      tokens_(offsets_ + 8 * (header_.records + 1)),
      scored_(tokens_ + header_.tokens * header_.token_bytes),
      labels_(scored_ + header_.tokens) {}

TokenFile::~TokenFile() { munmap(const_cast<uint8_t*>(bytes_), size_); }

uint64_t TokenFile::Offset(int64_t record) const { return LoadAt<uint64_t>(offsets_ + 8 * record); }

int64_t TokenFile::TokenAt(uint64_t index) const {
  if (header_.token_bytes == 2) return LoadAt<uint16_t>(tokens_ + 2 * index);
  return LoadAt<uint32_t>(tokens_ + 4 * index);
}

int64_t TokenFile::Length(int64_t record) const {
  SOTTO_CHECK(record >= 0 && record < header_.records);
  return static_cast<int64_t>(Offset(record + 1) - Offset(record));
}

void TokenFile::Read(int64_t record, absl::Span<int64_t> tokens, absl::Span<float> scored) const {
  const int64_t length = Length(record);
  SOTTO_CHECK(tokens.size() == length && scored.size() == length);
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

absl::Status TokenFile::Validate(Audience audience) const {
  auto broken = [audience](int64_t record, absl::string_view rule, int64_t value) {
    if (audience == Audience::kWorker) {
      return absl::InvalidArgumentError(absl::StrCat("token file: ", rule));
    }
    return absl::InvalidArgumentError(
        absl::StrCat("token file: ", rule, ", but record ", record, " has ", value));
  };
  if (Offset(0) != 0) return absl::InvalidArgumentError("token file: offsets must start at 0");
  for (int64_t record = 0; record < header_.records; ++record) {
    const uint64_t begin = Offset(record);
    const uint64_t end = Offset(record + 1);
    if (end <= begin || end > static_cast<uint64_t>(header_.tokens)) {
      return broken(record, "offsets must ascend up to the number of tokens",
                    static_cast<int64_t>(end));
    }
    const int64_t length = static_cast<int64_t>(end - begin);
    if (length > header_.max_length) {
      return broken(record, absl::StrCat("records have at most ", header_.max_length, " tokens"),
                    length);
    }
    for (uint64_t index = begin; index < end; ++index) {
      const int64_t token = TokenAt(index);
      if (token >= header_.vocabulary_size) {
        return broken(record, absl::StrCat("tokens are in [0, ", header_.vocabulary_size, ")"),
                      token);
      }
      if (scored_[index] > 1) return broken(record, "loss masks are 0 or 1", scored_[index]);
    }
  }
  for (int64_t record = 0; header_.classes > 0 && record < header_.records; ++record) {
    const int32_t label = Label(record);
    if (label < 0 || label >= header_.classes) {
      return broken(record, absl::StrCat("labels are in [0, ", header_.classes, ")"), label);
    }
  }
  if (Offset(header_.records) != static_cast<uint64_t>(header_.tokens)) {
    return absl::InvalidArgumentError("token file: the last offset must be the number of tokens");
  }
  return absl::OkStatus();
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
