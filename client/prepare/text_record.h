// One record of text, before tokenisation.
#ifndef SOTTO_CLIENT_PREPARE_TEXT_RECORD_H_
#define SOTTO_CLIENT_PREPARE_TEXT_RECORD_H_

#include <cstdint>
#include <string>

namespace sotto::client {

// One privacy unit. The model sees prompt + text; only `text` and the end of the record count in
// the loss.
struct TextRecord {
  std::string prompt;
  std::string text;
  int32_t label = -1;  // the record's class; -1: none
};

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_TEXT_RECORD_H_
