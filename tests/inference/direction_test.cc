// Directions that are removed from what matrices put out.
#include <cmath>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/safetensors_reader.h"
#include "common/checkpoint/safetensors_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/inference/golden_model.h"
#include "tests/inference/inference_run.h"

namespace sotto::inference {
namespace {

using checkpoint::SafetensorsReader;
using checkpoint::SafetensorsWriter;
using checkpoint::TensorShape;
using ::testing::HasSubstr;

struct Matrix {
  std::string model;
  std::string name;  // in the file
  int64_t rows;
  int64_t columns;
  bool has_output_columns;

  int64_t outputs() const { return has_output_columns ? columns : rows; }
  int64_t inputs() const { return has_output_columns ? rows : columns; }
  // Of a row-major matrix.
  int64_t ElementOf(int64_t output, int64_t input) const {
    return has_output_columns ? input * columns + output : output * columns + input;
  }
};

const Matrix kMatrices[] = {
    {kGoldenModels[0], "transformer.h.1.mlp.c_proj.weight", 128, 32, true},
    {kGoldenModels[0], "transformer.h.0.attn.c_proj.weight", 32, 32, true},
    {kGoldenModels[0], "transformer.wte.weight", 97, 32, true},
    {kGoldenModels[1], "model.layers.0.self_attn.o_proj.weight", 32, 32, false},
    {kGoldenModels[1], "model.layers.1.mlp.down_proj.weight", 32, 80, false},
    {kGoldenModels[1], "model.embed_tokens.weight", 97, 32, true},
    {kGoldenModels[1], "lm_head.weight", 97, 32, false}};

// Far from unit length, with values that are no sums of few powers of two.
std::vector<float> DirectionOf(int64_t elements) {
  std::vector<float> direction;
  for (int64_t i = 0; i < elements; ++i) {
    direction.push_back((i % 3 == 0 ? -7.0f : 5.0f) / static_cast<float>(3 + i));
  }
  return direction;
}

class DirectionTest : public testing::Test {
 protected:
  DirectionTest() : folder_(*MakeTempDir(testing::TempDir() + "/direction-")) {}
  ~DirectionTest() override { std::filesystem::remove_all(folder_); }

  v1::InferenceSpec SpecWith(const std::map<std::string, std::vector<float>>& vectors) const {
    v1::InferenceSpec spec;
    spec.set_output(folder_ + "/out");
    spec.mutable_edit()->set_projections(folder_ + "/projections.safetensors");
    std::vector<TensorShape> shapes;
    for (const auto& [name, values] : vectors) {
      shapes.push_back({.name = name, .shape = {static_cast<int64_t>(values.size())}});
    }
    SafetensorsWriter writer = *SafetensorsWriter::Create(spec.edit().projections(), shapes, {});
    for (const auto& [name, values] : vectors) EXPECT_OK(writer.Append(values));
    EXPECT_OK(writer.Finish().status());
    return spec;
  }

  // model.safetensors after the edit.
  std::string Edit(const std::string& model, const v1::InferenceSpec& spec,
                   const Ranks& ranks) const {
    std::filesystem::remove_all(spec.output());
    EXPECT_OK(RunOnRanks(PlanOf(model, spec, ranks)));
    return *ReadFile(spec.output() + "/model.safetensors");
  }

  const std::string folder_;
};

TEST_F(DirectionTest, IsTakenFromTheOutputsExactly) {
  for (const Matrix& matrix : kMatrices) {
    for (const double scale : {1.0, 0.375}) {
      SCOPED_TRACE(absl::StrCat(matrix.name, " ", scale));
      const std::vector<float> direction = DirectionOf(matrix.outputs());
      v1::InferenceSpec spec = SpecWith({{matrix.name + ".direction", direction}});
      spec.mutable_edit()->set_scale(scale);
      Edit(matrix.model, spec, {v1::FULL_SHARD, 2});
      const auto before = ReadTensor<float>(matrix.model + "/model.safetensors", matrix.name);
      const auto after = ReadTensor<float>(spec.output() + "/model.safetensors", matrix.name);
      ASSERT_EQ(after.size(), matrix.rows * matrix.columns);
      long double square = 0;
      for (const float v : direction) square += static_cast<long double>(v) * v;
      for (int64_t input = 0; input < matrix.inputs(); ++input) {
        long double dot = 0, left = 0;  // of direction and outputs, before and after
        for (int64_t output = 0; output < matrix.outputs(); ++output) {
          dot +=
              static_cast<long double>(direction[output]) * before[matrix.ElementOf(output, input)];
          left +=
              static_cast<long double>(direction[output]) * after[matrix.ElementOf(output, input)];
        }
        for (int64_t output = 0; output < matrix.outputs(); ++output) {
          const int64_t element = matrix.ElementOf(output, input);
          const double expected = before[element] - scale * direction[output] * dot / square;
          // Half a unit in the last place, and what float64 rounds.
          ASSERT_NEAR(after[element], expected, std::ldexp(std::abs(expected), -24) + 1e-15)
              << output << " " << input;
        }
        EXPECT_NEAR(left, (1 - scale) * dot, 1e-6 * std::sqrt(square));
      }
    }
  }
}

TEST_F(DirectionTest, IsTheUnshardedEditBitForBit) {
  for (const char* model : kGoldenModels) {
    std::map<std::string, std::vector<float>> vectors;
    for (const Matrix& matrix : kMatrices) {
      if (matrix.model == model)
        vectors[matrix.name + ".direction"] = DirectionOf(matrix.outputs());
    }
    const v1::InferenceSpec spec = SpecWith(vectors);
    const std::string expected = Edit(model, spec, kAllRanks[0]);
    for (const Ranks& ranks : kAllRanks) {
      SCOPED_TRACE(absl::StrCat(model, " ", Describe(ranks)));
      EXPECT_EQ(Edit(model, spec, ranks), expected);
    }
    // The length of a direction is nothing, and what is removed is removed.
    for (auto& [name, values] : vectors) {
      for (float& value : values) value *= -1024;
    }
    EXPECT_EQ(Edit(model, SpecWith(vectors), kAllRanks[1]), expected);
  }
}

TEST_F(DirectionTest, StandsBesideOtherProjections) {
  const Matrix& removed = kMatrices[4];
  const Matrix& added = kMatrices[3];
  const auto direction = DirectionOf(removed.outputs());
  const auto ones = std::vector<float>(32, 1);
  const v1::InferenceSpec spec = SpecWith({{removed.name + ".direction", direction},
                                           {added.name + ".left", ones},
                                           {added.name + ".right", ones}});
  Edit(added.model, spec, {v1::FULL_SHARD, 3});
  const auto before = ReadTensor<float>(added.model + "/model.safetensors", added.name);
  const auto after = ReadTensor<float>(spec.output() + "/model.safetensors", added.name);
  for (size_t i = 0; i < before.size(); ++i) {
    ASSERT_EQ(after[i], static_cast<float>(before[i] + 1.0));
  }
  EXPECT_NE(ReadTensor<float>(added.model + "/model.safetensors", removed.name),
            ReadTensor<float>(spec.output() + "/model.safetensors", removed.name));
}

TEST_F(DirectionTest, WhatDoesNotFitIsRefusedByName) {
  const std::string wide = kMatrices[4].name;  // Llama: 32 outputs of 80 inputs
  const std::string tall = kMatrices[0].name;  // GPT-2: 32 outputs of 128 inputs
  const auto ones = [](int64_t elements) { return std::vector<float>(elements, 1); };
  struct Case {
    const char* model;
    std::string message;
    std::map<std::string, std::vector<float>> vectors;
  };
  const Case cases[] = {
      {kGoldenModels[1],
       wide + ".direction must have the shape [32]",
       {{wide + ".direction", ones(80)}}},
      {kGoldenModels[0],
       tall + ".direction must have the shape [32]",
       {{tall + ".direction", ones(128)}}},
      {kGoldenModels[1],
       wide + ".direction must not be zero",
       {{wide + ".direction", std::vector<float>(32, 0)}}},
      {kGoldenModels[1],
       wide + ".direction must be finite",
       {{wide + ".direction", std::vector<float>(32, NAN)}}},
      {kGoldenModels[1],
       wide + " must have either .left and .right or .direction",
       {{wide + ".direction", ones(32)}, {wide + ".left", ones(32)}, {wide + ".right", ones(80)}}},
      {kGoldenModels[1],
       wide + " must have either .left and .right or .direction",
       {{wide + ".direction", ones(32)}, {wide + ".right", ones(80)}}},
      {kGoldenModels[1], "no parameter nothing", {{"nothing.direction", ones(32)}}},
      {kGoldenModels[1], "MATRIX.direction", {{wide + ".directions", ones(32)}}},
  };
  for (const Case& c : cases) {
    for (const int world_size : {1, 2}) {
      SCOPED_TRACE(absl::StrCat(c.message, " ", world_size));
      const v1::InferenceSpec spec = SpecWith(c.vectors);
      EXPECT_THAT(RunOnRanks(PlanOf(c.model, spec, {v1::FULL_SHARD, world_size})),
                  StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)));
      EXPECT_FALSE(std::filesystem::exists(spec.output()));
    }
  }
}

}  // namespace
}  // namespace sotto::inference
