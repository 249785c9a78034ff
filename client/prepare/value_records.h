// Records of images or vectors, before they are written.
#ifndef SOTTO_CLIENT_PREPARE_VALUE_RECORDS_H_
#define SOTTO_CLIENT_PREPARE_VALUE_RECORDS_H_

#include <cstdint>
#include <vector>

#include "common/dataset/value_file_writer.h"

namespace sotto::client {

struct ValueRecord {
  std::vector<float> floats;   // of a file of fp32
  std::vector<uint8_t> bytes;  // of a file of u8
  int32_t label = -1;
  std::vector<float> targets;
};

struct ValueRecords {
  dataset::ValueFileWriter::Options options;  // of the file they make
  std::vector<ValueRecord> records;
};

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_VALUE_RECORDS_H_
