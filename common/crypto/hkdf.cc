#include "common/crypto/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <string>

#include "common/base/log.h"

namespace sotto::crypto {

namespace {

OSSL_PARAM Octets(const char* name, absl::Span<const uint8_t> bytes) {
  return OSSL_PARAM_construct_octet_string(name, const_cast<uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

void HkdfSha256(absl::Span<const uint8_t> input_key, absl::Span<const uint8_t> salt,
                absl::Span<const uint8_t> info, absl::Span<uint8_t> output) {
  SOTTO_CHECK(output.size() <= 255 * 32);
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
  EVP_KDF_free(kdf);
  SOTTO_CHECK(context != nullptr);

  char digest[] = "SHA256";
  std::vector<OSSL_PARAM> params = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
      Octets(OSSL_KDF_PARAM_KEY, input_key),
  };
  // OpenSSL refuses null pointers; an absent salt or info means an empty one (RFC 5869).
  if (!salt.empty()) params.push_back(Octets(OSSL_KDF_PARAM_SALT, salt));
  if (!info.empty()) params.push_back(Octets(OSSL_KDF_PARAM_INFO, info));
  params.push_back(OSSL_PARAM_construct_end());
  const int derived = EVP_KDF_derive(context, output.data(), output.size(), params.data());
  EVP_KDF_CTX_free(context);
  SOTTO_CHECK(derived == 1);
}

Key DeriveKey(const Secret& secret, absl::string_view purpose, int64_t step) {
  // A fixed-width step after the purpose: no two (purpose, step) give the same info.
  std::vector<uint8_t> info(purpose.begin(), purpose.end());
  info.push_back(0);
  for (int byte = 0; byte < 8; ++byte) {
    info.push_back(static_cast<uint8_t>(static_cast<uint64_t>(step) >> (8 * byte)));
  }
  constexpr absl::string_view kSalt = "sotto.v1";
  Key key;
  HkdfSha256(secret.bytes(),
             absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(kSalt.data()), kSalt.size()),
             info, absl::MakeSpan(key));
  return key;
}

}  // namespace sotto::crypto
