// Random bytes of the operating system (getrandom).
#ifndef SOTTO_COMMON_CRYPTO_RANDOM_BYTES_H_
#define SOTTO_COMMON_CRYPTO_RANDOM_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/types/span.h"

namespace sotto::crypto {

// Fills `bytes`. Ends the process when the system has no randomness to give: nothing safe can be
// done then.
void FillRandomBytes(absl::Span<uint8_t> bytes);

// `count` random bytes; e.g. an attempt's 32-byte secret or token.
std::string RandomBytes(size_t count);

// Two hexadecimal digits a byte.
std::string RandomHex(size_t byte_count);

}  // namespace sotto::crypto

#endif  // SOTTO_COMMON_CRYPTO_RANDOM_BYTES_H_
