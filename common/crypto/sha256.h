// SHA-256 (FIPS 180-4) through OpenSSL.
#ifndef SOTTO_COMMON_CRYPTO_SHA256_H_
#define SOTTO_COMMON_CRYPTO_SHA256_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sotto::crypto {

using Sha256Digest = std::array<uint8_t, 32>;

// A hash in progress. Externally synchronised.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(const void* bytes, size_t count);
  void Update(absl::string_view bytes) { Update(bytes.data(), bytes.size()); }

  // The digest of all bytes so far. Call once, last.
  Sha256Digest Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

Sha256Digest Sha256Of(absl::string_view bytes);

// Lower-case hexadecimal, 64 characters.
std::string HexOf(const Sha256Digest& digest);
std::string HexSha256(absl::string_view bytes);

// Of a whole file, read in pieces. NOT_FOUND: no such file; UNAVAILABLE: it cannot be read.
absl::StatusOr<std::string> HexSha256OfFile(const std::string& path);

}  // namespace sotto::crypto

#endif  // SOTTO_COMMON_CRYPTO_SHA256_H_
