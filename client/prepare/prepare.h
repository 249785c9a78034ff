// From text files, or files of tokens, to a token file, and a public one split off it.
#ifndef SOTTO_CLIENT_PREPARE_PREPARE_H_
#define SOTTO_CLIENT_PREPARE_PREPARE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/prepare/record_reader.h"

namespace sotto::client {

struct PrepareOptions {
  std::vector<std::string> inputs;  // files, read in this order
  RecordReaderOptions reader;
  std::string output;
  std::vector<int32_t> shape;  // kValues: channels, height, width; empty: vectors
  // kValues, kSafetensors: "u8" or "fp32"; empty: the tensor's own, and fp32 of lines. Only bytes
  // are read as v / 127.5 - 1.
  std::string dtype;
  int32_t max_length = 0;  // tokens per record, the end of record included; longer ones are cut

  // Every `holdout_every`-th record goes to the public file instead: it will not be in the dataset
  // that is registered. 0: none.
  int64_t holdout_every = 0;
  std::string holdout;
};

struct PreparedFile {
  std::string path;
  std::string sha256;
  int64_t records = 0;
  int64_t truncated_records = 0;
};

struct Prepared {
  PreparedFile dataset;
  PreparedFile holdout;    // path empty: none
  std::string value_type;  // of values: what ByteCensus says of it
};

// INVALID_ARGUMENT: options, or an input that is not of its format (names the file and the line).
// NOT_FOUND: an input. Nothing is written unless every input could be read.
absl::StatusOr<Prepared> Prepare(const PrepareOptions& options);

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_PREPARE_H_
