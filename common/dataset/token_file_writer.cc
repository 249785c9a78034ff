#include "common/dataset/token_file_writer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/crypto/sha256.h"

namespace sotto::dataset {

namespace {

template <typename T>
void AppendAs(const T& value, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

absl::StatusOr<TokenFileWriter> TokenFileWriter::Create(std::string path, Options options) {
  if (options.vocabulary_size < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("vocabulary_size must be at least 1, but is ", options.vocabulary_size));
  }
  if (options.max_length < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_length must be at least 1, but is ", options.max_length));
  }
  if (options.classes < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("classes must not be negative, but is ", options.classes));
  }
  TokenFileHeader header;
  header.classes = options.classes;
  header.tokenizer = std::move(options.tokenizer);
  header.vocabulary_size = options.vocabulary_size;
  header.max_length = options.max_length;
  header.token_bytes = options.vocabulary_size <= std::numeric_limits<uint16_t>::max() + 1 ? 2 : 4;
  return TokenFileWriter(std::move(path), std::move(header));
}

TokenFileWriter::TokenFileWriter(std::string path, TokenFileHeader header)
    : path_(std::move(path)), header_(std::move(header)), offsets_{0} {}

absl::Status TokenFileWriter::Add(absl::Span<const int32_t> tokens,
                                  absl::Span<const uint8_t> scored, int32_t label) {
  if (tokens.empty()) return absl::InvalidArgumentError("a record must have at least one token");
  if (!scored.empty() && scored.size() != tokens.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the loss mask must have ", tokens.size(),
                                                   " elements, but has ", scored.size()));
  }
  if (header_.classes > 0 && (label < 0 || label >= header_.classes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("labels are in [0, ", header_.classes, "), but one is ", label));
  }
  const size_t length = std::min<size_t>(tokens.size(), header_.max_length);
  for (const int32_t token : tokens.subspan(0, length)) {
    if (token < 0 || token >= header_.vocabulary_size) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokens are in [0, ", header_.vocabulary_size, "), but one is ", token));
    }
  }
  if (length < tokens.size()) ++header_.truncated_records;
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.begin() + length);
  for (size_t t = 0; t < length; ++t) scored_.push_back(scored.empty() || scored[t] != 0);
  if (header_.classes > 0) labels_.push_back(label);
  offsets_.push_back(tokens_.size());
  ++header_.records;
  return absl::OkStatus();
}

absl::StatusOr<std::string> TokenFileWriter::Finish() {
  header_.tokens = static_cast<int64_t>(tokens_.size());
  const std::string header = EncodeHeader(header_);
  std::string bytes(kTokenFileMagic.data(), kTokenFileMagic.size());
  AppendAs(static_cast<uint64_t>(header.size()), bytes);
  bytes += header;
  bytes.resize((bytes.size() + 7) / 8 * 8, '\0');
  for (const uint64_t offset : offsets_) AppendAs(offset, bytes);
  for (const int32_t token : tokens_) {
    if (header_.token_bytes == 2) {
      AppendAs(static_cast<uint16_t>(token), bytes);
    } else {
      AppendAs(static_cast<uint32_t>(token), bytes);
    }
  }
  bytes.append(scored_.begin(), scored_.end());
  for (const int32_t label : labels_) AppendAs(label, bytes);
  RETURN_IF_ERROR(AtomicWriteFile(path_, bytes));
  return crypto::HexSha256(bytes);
}

}  // namespace sotto::dataset
