#include "client/prepare/byte_tokenizer.h"

namespace sotto::client {

TokenizedRecord TokenizeBytes(const TextRecord& record) {
  TokenizedRecord tokenized;
  tokenized.label = record.label;
  const size_t length = record.prompt.size() + record.text.size() + 1;
  tokenized.tokens.reserve(length);
  for (unsigned char byte : record.prompt) tokenized.tokens.push_back(byte);
  for (unsigned char byte : record.text) tokenized.tokens.push_back(byte);
  tokenized.tokens.push_back(kEndOfRecord);
  tokenized.scored.assign(record.prompt.size(), 0);
  tokenized.scored.resize(length, 1);
  return tokenized;
}

}  // namespace sotto::client
