#include "common/crypto/secret.h"

#include <openssl/crypto.h>

#include <utility>

namespace sotto::crypto {

void WipeBytes(absl::Span<uint8_t> bytes) { OPENSSL_cleanse(bytes.data(), bytes.size()); }

Secret::~Secret() { WipeBytes(absl::MakeSpan(bytes_)); }

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this == &other) return *this;
  WipeBytes(absl::MakeSpan(bytes_));
  bytes_ = std::move(other.bytes_);
  return *this;
}

Secret Secret::FromPublicSeed(uint64_t seed) {
  // The label keeps a seed from ever being equal to an attempt's 32 random bytes.
  std::vector<uint8_t> bytes = {'p', 'u', 'b', 'l', 'i', 'c', ' ', 's', 'e', 'e', 'd'};
  for (int byte = 0; byte < 8; ++byte) bytes.push_back(static_cast<uint8_t>(seed >> (8 * byte)));
  return Secret(bytes);
}

}  // namespace sotto::crypto
