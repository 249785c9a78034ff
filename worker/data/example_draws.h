// What a diffusion draws for each example: noise and time step.
#ifndef SOTTO_WORKER_DATA_EXAMPLE_DRAWS_H_
#define SOTTO_WORKER_DATA_EXAMPLE_DRAWS_H_

#include <cstdint>

#include "common/crypto/hkdf.h"
#include "common/crypto/secret.h"
#include "worker/data/record_loader.h"

namespace sotto::data {

// A record's draws are a function of (secret, step, record): not of the micro-batch, the rank or
// the number of ranks, and new in each step. They come from a key of their own, so that neither the
// sample nor the noise of the release depends on them. Clipping bounds a record's gradient whatever
// its draws are. Thread-safe.
class ExampleDraws {
 public:
  // `time_steps`: of the model's diffusion, at least 1.
  ExampleDraws(crypto::Secret secret, int64_t time_steps)
      : secret_(std::move(secret)), time_steps_(time_steps) {}

  // The same in every step, without a secret: for evaluation on public records.
  static ExampleDraws ForEvaluation(int64_t time_steps) {
    return ExampleDraws(crypto::Secret::FromPublicSeed(0), time_steps);
  }

  // Fills noise_BCHW (standard normal) and time_steps_B (uniform); 0 for dummies.
  void Draw(int64_t step, LoadedMicroBatch& loaded) const;

 private:
  crypto::Secret secret_;
  int64_t time_steps_;
};

}  // namespace sotto::data

#endif  // SOTTO_WORKER_DATA_EXAMPLE_DRAWS_H_
