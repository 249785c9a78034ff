// Keys from a secret: HKDF with SHA-256 (RFC 5869) through OpenSSL.
#ifndef SOTTO_COMMON_CRYPTO_HKDF_H_
#define SOTTO_COMMON_CRYPTO_HKDF_H_

#include <array>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/crypto/secret.h"

namespace sotto::crypto {

using Key = std::array<uint8_t, 32>;

// RFC 5869. `output` holds at most 255 * 32 bytes.
void HkdfSha256(absl::Span<const uint8_t> input_key, absl::Span<const uint8_t> salt,
                absl::Span<const uint8_t> info, absl::Span<uint8_t> output);

// KDF(secret, purpose, step). Guarantee: keys of different (purpose, step) are independent to
// anyone without the secret.
Key DeriveKey(const Secret& secret, absl::string_view purpose, int64_t step);

}  // namespace sotto::crypto

#endif  // SOTTO_COMMON_CRYPTO_HKDF_H_
