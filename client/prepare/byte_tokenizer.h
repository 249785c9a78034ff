// The built-in tokenizer: one token a byte, and one for the end of a record.
#ifndef SOTTO_CLIENT_PREPARE_BYTE_TOKENIZER_H_
#define SOTTO_CLIENT_PREPARE_BYTE_TOKENIZER_H_

#include <cstdint>

#include "client/prepare/text_record.h"
#include "client/prepare/tokenized_record.h"

namespace sotto::client {

inline constexpr int32_t kEndOfRecord = 256;
inline constexpr int32_t kByteVocabularySize = 257;

// prompt, text, end of record; the prompt is not scored.
TokenizedRecord TokenizeBytes(const TextRecord& record);

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_BYTE_TOKENIZER_H_
