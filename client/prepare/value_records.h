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
  int64_t place = 0;  // its line in a file of lines, or its row, from 1
};

struct ValueRecords {
  dataset::ValueFileWriter::Options options;  // of the file they make
  std::vector<ValueRecord> records;
};

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_VALUE_RECORDS_H_
