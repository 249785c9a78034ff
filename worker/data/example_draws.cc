#include "worker/data/example_draws.h"

#include <cstring>

#include "ATen/CPUGeneratorImpl.h"
#include "ATen/ops/zeros.h"
#include "ATen/ops/zeros_like.h"
#include "absl/types/span.h"

namespace sotto::data {
namespace {

uint64_t SeedOf(const crypto::Key& step_key, int64_t record) {
  uint64_t seed = 0;
  crypto::HkdfSha256(step_key, /*salt=*/{},
                     absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&record), sizeof(record)),
                     absl::MakeSpan(reinterpret_cast<uint8_t*>(&seed), sizeof(seed)));
  return seed;
}

}  // namespace

void ExampleDraws::Draw(int64_t step, LoadedMicroBatch& loaded) const {
  const crypto::Key key = crypto::DeriveKey(secret_, "example draws", step);
  loaded.noise_BCHW = at::zeros_like(loaded.values_BCHW);
  loaded.time_steps_B = at::zeros({loaded.values_BCHW.size(0)}, at::kLong);
  for (size_t b = 0; b < loaded.example_ids.size(); ++b) {
    if (loaded.example_ids[b] < 0) continue;
    at::Generator generator =
        at::make_generator<at::CPUGeneratorImpl>(SeedOf(key, loaded.example_ids[b]));
    const auto row = static_cast<int64_t>(b);
    loaded.noise_BCHW[row].normal_(0, 1, generator);
    loaded.time_steps_B[row].random_(0, time_steps_, generator);
  }
}

}  // namespace sotto::data
