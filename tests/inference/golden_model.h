// What the golden models say: tokens of their batches and logits in float64.
#ifndef SOTTO_TESTS_INFERENCE_GOLDEN_MODEL_H_
#define SOTTO_TESTS_INFERENCE_GOLDEN_MODEL_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "common/checkpoint/safetensors_reader.h"

namespace sotto::inference {

inline constexpr const char* kGoldenModels[] = {"tests/golden/models/gpt2_tied",
                                                "tests/golden/models/llama_gqa"};

// A tensor as it lies in the file.
template <typename T>
std::vector<T> ReadTensor(const std::string& path, const std::string& name,
                          std::vector<int64_t>* shape = nullptr) {
  const auto file = *checkpoint::SafetensorsReader::Open(path);
  const checkpoint::SafetensorsEntry& entry = *file->Find(name);
  if (shape != nullptr) *shape = entry.shape;
  std::vector<T> values(entry.num_elements());
  std::memcpy(values.data(), file->Bytes(entry).data(), values.size() * sizeof(T));
  return values;
}

struct GoldenModel {
  explicit GoldenModel(const std::string& folder) : directory(folder) {
    const auto ids = ReadTensor<int64_t>(folder + "/batch.safetensors", "tokens", &shape);
    for (int64_t b = 0; b < shape[0]; ++b) {
      tokens_BT.emplace_back(ids.begin() + b * shape[1], ids.begin() + (b + 1) * shape[1]);
    }
    logits_BTV = ReadTensor<double>(folder + "/reference.safetensors", "logits", &shape);
  }

  // The V logits after tokens_BT[b][t].
  const double* Logits(int64_t b, int64_t t) const {
    return logits_BTV.data() + (b * shape[1] + t) * shape[2];
  }

  std::string directory;
  std::vector<int64_t> shape;  // B, T, V
  std::vector<std::vector<int64_t>> tokens_BT;
  std::vector<double> logits_BTV;
};

}  // namespace sotto::inference

#endif  // SOTTO_TESTS_INFERENCE_GOLDEN_MODEL_H_
