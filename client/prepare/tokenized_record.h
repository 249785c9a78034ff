// One record as tokens.
#ifndef SOTTO_CLIENT_PREPARE_TOKENIZED_RECORD_H_
#define SOTTO_CLIENT_PREPARE_TOKENIZED_RECORD_H_

#include <cstdint>
#include <string>
#include <vector>

namespace sotto::client {

struct TokenizedRecord {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> scored;  // by token: whether predicting it counts in the loss
};

// Records of one tokenizer.
struct TokenizedRecords {
  std::string tokenizer;
  int32_t vocabulary_size = 0;
  std::vector<TokenizedRecord> records;
};

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_TOKENIZED_RECORD_H_
