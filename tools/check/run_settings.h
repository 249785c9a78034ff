// What a checked training is made of: the same for every gradient mode that is compared.
#ifndef SOTTO_TOOLS_CHECK_RUN_SETTINGS_H_
#define SOTTO_TOOLS_CHECK_RUN_SETTINGS_H_

#include <cstdint>
#include <string>

#include "proto/sotto/v1/spec.pb.h"

namespace sotto::check {

struct RunSettings {
  v1::ModelSpec model;
  int32_t length = 64;       // tokens of the longest record
  int32_t records = 32;      // of the random data set, copies apart
  bool full_length = false;  // all records are of that length, and every token is scored
  // How often each record is there: every run of `micro_batch` records that many times in a row, so
  // that in a full batch of full-length records as many ranks each get one copy.
  int32_t copies = 1;
  double batch = 16;        // expected examples of a step, copies apart; as many as records: all
  int32_t micro_batch = 4;  // examples of one forward and backward
  int64_t steps = 10;
  bool uses_adamw = false;  // else SGD, which amplifies no rounding
  double learning_rate = 0.1;
  double clip_norm = 1;
  double noise_multiplier = 0;
  uint64_t seed = 42;  // of data, initial values, sampling and noise
  int world_size = 2;
  int threads = 0;  // of a rank; 0: the machine's cores over the ranks
  v1::Strategy strategy = v1::FULL_SHARD;
};

// A gradient mode as a job asks for it.
struct ModeChoice {
  std::string name;  // of common/layout/gradient_mode.h, or auto
  bool deferred_norms = false;
  int world_size = 0;  // 0: that of the settings

  // "flash+deferred@2"
  std::string Label() const {
    return name + (deferred_norms ? "+deferred" : "") +
           (world_size > 0 ? "@" + std::to_string(world_size) : "");
  }
};

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_RUN_SETTINGS_H_
