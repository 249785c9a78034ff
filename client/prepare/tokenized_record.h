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
  int32_t label = -1;           // the record's class; -1: none
};

// Records of one tokenizer.
struct TokenizedRecords {
  std::string tokenizer;
  int32_t vocabulary_size = 0;
  int32_t classes = 0;  // above 0: every record has a label below this
  std::vector<TokenizedRecord> records;
};

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_TOKENIZED_RECORD_H_
