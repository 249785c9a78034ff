#include "common/crypto/random_bytes.h"

#include <sys/random.h>

#include <cerrno>

#include "absl/strings/escaping.h"
#include "common/base/log.h"

namespace sotto::crypto {

void FillRandomBytes(absl::Span<uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = getrandom(bytes.data(), bytes.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    SOTTO_CHECK(count > 0);
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

std::string RandomBytes(size_t count) {
  std::string bytes(count, '\0');
  FillRandomBytes(absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()));
  return bytes;
}

std::string RandomHex(size_t byte_count) { return absl::BytesToHexString(RandomBytes(byte_count)); }

}  // namespace sotto::crypto
