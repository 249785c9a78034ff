// Our GPT-2 against Hugging Face's, computed in float64 (tests/golden/README.md).
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "ATen/Functions.h"
#include "common/checkpoint/safetensors_reader.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/equivalence/mode_run.h"

namespace sotto::equivalence {
namespace {

using checkpoint::SafetensorsReader;

constexpr char kFolder[] = "tests/golden/models/gpt2_tied/";

std::unique_ptr<SafetensorsReader> Open(const std::string& file) {
  auto reader = SafetensorsReader::Open(kFolder + file);
  EXPECT_TRUE(reader.ok()) << reader.status();
  return *std::move(reader);
}

// A tensor of the file, in its own type.
at::Tensor Read(const SafetensorsReader& reader, const std::string& name, at::ScalarType type) {
  const checkpoint::SafetensorsEntry* entry = reader.Find(name);
  EXPECT_NE(entry, nullptr) << name;
  const absl::Span<const uint8_t> bytes = reader.Bytes(*entry);
  const at::Tensor tensor =
      at::empty(std::vector<int64_t>(entry->shape.begin(), entry->shape.end()), type);
  EXPECT_EQ(tensor.nbytes(), bytes.size()) << name;
  std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

class GoldenGpt2Test : public ::testing::TestWithParam<ClippingMode> {
 protected:
  GoldenGpt2Test()
      : weights_(Open("model.safetensors")),
        batch_(Open("batch.safetensors")),
        reference_(Open("reference.safetensors")),
        model_(MakeTestModel({.vocabulary_size = 97,
                              .width = 32,
                              .layers = 2,
                              .heads = 4,
                              .max_length = 32,
                              .tied_head = true},
                             /*seed=*/1)) {
    for (size_t unit = 0; unit < model_.parameters.size(); ++unit) {
      for (size_t i = 0; i < model_.parameters[unit].size(); ++i) {
        model_.parameters[unit][i].copy_(Read(*weights_, NameOf(unit, i), at::kFloat));
      }
    }
  }

  std::string NameOf(size_t unit, size_t parameter) const {
    return "transformer." + model_.description.units[unit].parameters[parameter].name;
  }

  models::MicroBatch Batch() const {
    models::MicroBatch batch{.tokens_BT = Read(*batch_, "tokens", at::kLong)};
    // The file's mask starts at the second token.
    batch.loss_mask_BT = at::zeros(batch.tokens_BT.sizes());
    batch.loss_mask_BT.narrow(1, 1, batch.tokens_BT.size(1) - 1)
        .copy_(Read(*batch_, "loss_mask", at::kByte));
    for (int64_t b = 0; b < batch.tokens_BT.size(0); ++b) batch.example_ids.push_back(b);
    return batch;
  }

  const std::unique_ptr<SafetensorsReader> weights_;
  const std::unique_ptr<SafetensorsReader> batch_;
  const std::unique_ptr<SafetensorsReader> reference_;
  TestModel model_;
};

INSTANTIATE_TEST_SUITE_P(Modes, GoldenGpt2Test, ::testing::ValuesIn(ClippingModes()),
                         [](const auto& info) { return info.param.name; });

TEST_P(GoldenGpt2Test, LossesNormsAndClippedSumsEqualHuggingFaces) {
  std::ifstream json(std::string(kFolder) + "reference.json");
  const double clip_norm = nlohmann::json::parse(json)["clip_norm"];
  const models::MicroBatch batch = Batch();
  ModeRun run(model_,
              {.mode = GetParam().mode,
               .deferred_norms = GetParam().deferred_norms,
               .applied_clip_norm = clip_norm},
              batch.tokens_BT.size(0));
  run.Run(batch);
  const at::Tensor own_losses = run.Losses(batch);

  const at::Tensor losses = Read(*reference_, "loss", at::kDouble);
  const at::Tensor norms = Read(*reference_, "grad_norm", at::kDouble);
  for (int64_t b = 0; b < losses.size(0); ++b) {
    EXPECT_NEAR(own_losses[b].item<double>(), losses[b].item<double>(), 1e-5);
    EXPECT_NEAR(std::sqrt(run.norm_sq_B()[b].item<double>()), norms[b].item<double>(),
                1e-5 * norms[b].item<double>());
  }
  double whole_sq = 0;
  for (size_t unit = 0; unit < model_.parameters.size(); ++unit) {
    for (size_t i = 0; i < model_.parameters[unit].size(); ++i) {
      whole_sq +=
          Read(*reference_, "clipped." + NameOf(unit, i), at::kDouble).pow(2).sum().item<double>();
    }
  }
  for (size_t unit = 0; unit < model_.parameters.size(); ++unit) {
    for (size_t i = 0; i < model_.parameters[unit].size(); ++i) {
      const at::Tensor expected = Read(*reference_, "clipped." + NameOf(unit, i), at::kDouble);
      EXPECT_LE(run.gradients()[unit][i].to(at::kDouble).sub(expected).norm().item<double>(),
                1e-5 * expected.norm().item<double>() + 1e-6 * std::sqrt(whole_sq))
          << NameOf(unit, i);
    }
  }
}

}  // namespace
}  // namespace sotto::equivalence
