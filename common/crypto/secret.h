// Bytes that must not be seen: not printable, not copyable, wiped when they go.
#ifndef SOTTO_COMMON_CRYPTO_SECRET_H_
#define SOTTO_COMMON_CRYPTO_SECRET_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace sotto::crypto {

// Move-only. Held in memory only: never stored, logged, or put in a checkpoint, argv or
// environment.
class Secret {
 public:
  // Copies; the caller wipes its own copy (see WipeBytes).
  explicit Secret(absl::Span<const uint8_t> bytes) : bytes_(bytes.begin(), bytes.end()) {}
  explicit Secret(absl::string_view bytes) : bytes_(bytes.begin(), bytes.end()) {}
  ~Secret();
  Secret(Secret&&) noexcept = default;
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;

  // The public, fixed seed of a job that promises nothing. Whoever knows it knows all noise.
  static Secret FromPublicSeed(uint64_t seed);

  // A second holder of the same bytes (sampler and mechanism each own one).
  Secret Clone() const { return Secret(bytes()); }

  absl::Span<const uint8_t> bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

// Overwrites with zeros in a way the compiler keeps.
void WipeBytes(absl::Span<uint8_t> bytes);

}  // namespace sotto::crypto

#endif  // SOTTO_COMMON_CRYPTO_SECRET_H_
