#include "common/crypto/sha256.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace sotto::crypto {

struct Sha256::Context {
  Context() : digest(EVP_MD_CTX_new()) {
    SOTTO_CHECK(digest != nullptr && EVP_DigestInit_ex(digest, EVP_sha256(), nullptr) == 1);
  }
  ~Context() { EVP_MD_CTX_free(digest); }

  EVP_MD_CTX* digest;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::Update(const void* bytes, size_t count) {
  SOTTO_CHECK(EVP_DigestUpdate(context_->digest, bytes, count) == 1);
}

Sha256Digest Sha256::Finish() {
  Sha256Digest digest;
  SOTTO_CHECK(EVP_DigestFinal_ex(context_->digest, digest.data(), nullptr) == 1);
  return digest;
}

Sha256Digest Sha256Of(absl::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Finish();
}

std::string HexOf(const Sha256Digest& digest) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

std::string HexSha256(absl::string_view bytes) { return HexOf(Sha256Of(bytes)); }

absl::StatusOr<std::string> HexSha256OfFile(const std::string& path) {
  ASSIGN_OR_RETURN(UniqueFd file, OpenFile(path, O_RDONLY));
  Sha256 hash;
  std::vector<char> piece(1 << 20);
  while (true) {
    const ssize_t count = read(file.get(), piece.data(), piece.size());
    if (count == 0) return HexOf(hash.Finish());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot read ", path));
    hash.Update(piece.data(), static_cast<size_t>(count));
  }
}

}  // namespace sotto::crypto
