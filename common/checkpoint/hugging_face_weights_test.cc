#include "common/checkpoint/hugging_face_weights.h"

#include <bit>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/half_floats.h"
#include "common/checkpoint/safetensors_header.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::checkpoint {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Tensor {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

std::string Floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

std::string Halves(const std::vector<uint16_t>& bits) {
  return {reinterpret_cast<const char*>(bits.data()), bits.size() * sizeof(uint16_t)};
}

class HuggingFaceWeightsTest : public testing::Test {
 protected:
  HuggingFaceWeightsTest() : directory_(*MakeTempDir(testing::TempDir() + "/weights-")) {}
  ~HuggingFaceWeightsTest() override { std::filesystem::remove_all(directory_); }

  void Write(const std::string& file, const std::vector<Tensor>& tensors) {
    SafetensorsHeader header;
    std::string data;
    for (const Tensor& tensor : tensors) {
      header.entries.push_back({.name = tensor.name,
                                .dtype = tensor.dtype,
                                .shape = tensor.shape,
                                .begin = data.size(),
                                .end = data.size() + tensor.bytes.size()});
      data += tensor.bytes;
    }
    const std::string text = FormatSafetensorsHeader(header);
    const uint64_t length = text.size();
    ASSERT_OK(
        AtomicWriteFile(absl::StrCat(directory_, "/", file),
                        std::string(reinterpret_cast<const char*>(&length), 8) + text + data));
  }

  void WriteIndex(const std::string& json) {
    ASSERT_OK(AtomicWriteFile(directory_ + "/model.safetensors.index.json", json));
  }

  absl::Status Open() {
    ASSIGN_OR_RETURN(files_, HuggingFaceFiles::Open(directory_));
    return absl::OkStatus();
  }

  absl::StatusOr<HuggingFaceWeights> Match() {
    RETURN_IF_ERROR(Open());
    return HuggingFaceWeights::Match(*files_, model_);
  }

  std::string directory_;
  std::unique_ptr<HuggingFaceFiles> files_;
  // A tied model: embedding, and a block with one matrix.
  layout::ModelDescription model_{
      .units = {{.name = "root", .parameters = {{.name = "wte.weight", .shape = {2, 2}}}},
                {.name = "h.0", .parameters = {{.name = "h.0.w.weight", .shape = {3}}}}}};
  const Tensor embedding_{"wte.weight", "F32", {2, 2}, Floats({1, 2, 3, 4})};
  const Tensor matrix_{"h.0.w.weight", "F32", {3}, Floats({5, 6, 7})};
};

TEST_F(HuggingFaceWeightsTest, EveryFloatTypeIsReadFromAnyPlace) {
  Write("model.safetensors",
        {{"transformer.wte.weight", "BF16", {2, 2}, Halves({0x3f80, 0xc000, 0x7f80, 0x0001})},
         {"transformer.h.0.w.weight", "F16", {3}, Halves({0x3c00, 0x8001, 0x7bff})}});
  ASSERT_OK_AND_ASSIGN(const HuggingFaceWeights weights, Match());
  EXPECT_EQ(weights.TensorName(0, 0), "transformer.wte.weight");
  std::vector<float> values(3);
  ASSERT_OK(weights.Read(0, 0, 1, absl::MakeSpan(values)));
  EXPECT_THAT(values, ElementsAre(-2.0f, INFINITY, std::bit_cast<float>(0x00010000)));
  ASSERT_OK(weights.Read(1, 0, 0, absl::MakeSpan(values)));
  EXPECT_THAT(values, ElementsAre(1.0f, -0x1p-24f, 65504.0f));
  EXPECT_THAT(weights.Read(1, 0, 1, absl::MakeSpan(values)),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("h.0.w.weight")));
}

TEST_F(HuggingFaceWeightsTest, ShardedFilesAreOneModel) {
  Write("a.safetensors", {embedding_});
  Write("b.safetensors", {matrix_});
  WriteIndex(R"({"metadata": {"total_size": 28}, "weight_map":
      {"wte.weight": "a.safetensors", "h.0.w.weight": "b.safetensors"}})");
  ASSERT_OK_AND_ASSIGN(const HuggingFaceWeights weights, Match());
  std::vector<float> values(1);
  ASSERT_OK(weights.Read(1, 0, 2, absl::MakeSpan(values)));
  EXPECT_EQ(values[0], 7);
}

TEST_F(HuggingFaceWeightsTest, IndexThatDoesNotFitItsFilesIsRefused) {
  struct Case {
    const char* index;
    const char* message;
  };
  const Case cases[] = {
      {"[]", "weight_map"},
      {R"({"weight_map": {"wte.weight": "../a.safetensors"}})", "same directory"},
      {R"({"weight_map": {"wte.weight": 1}})", "wte.weight"},
      {R"({"weight_map": {"wte.weight": "a.safetensors"}})", "h.0.w.weight"},
      {R"({"weight_map": {"wte.weight": "a.safetensors", "h.0.w.weight": "a.safetensors",
           "gone": "a.safetensors"}})",
       "gone"},
  };
  Write("a.safetensors", {embedding_, matrix_});
  for (const Case& c : cases) {
    WriteIndex(c.index);
    EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)))
        << c.index;
  }
  WriteIndex(R"({"weight_map": {"wte.weight": "none.safetensors"}})");
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kNotFound,
                               HasSubstr("places tensor wte.weight in none.safetensors")));
}

TEST_F(HuggingFaceWeightsTest, ShardsThatDoNotFitTheirIndexNameTheTensor) {
  constexpr char kIndex[] = R"({"weight_map":
      {"wte.weight": "a.safetensors", "h.0.w.weight": "b.safetensors"}})";
  Tensor renamed = matrix_;
  renamed.name = "h.0.v.weight";
  struct Case {
    const char* name;
    std::vector<Tensor> first;
    std::vector<Tensor> second;
    const char* message;
  };
  const Case cases[] = {
      {"a tensor in two files", {embedding_, matrix_}, {matrix_}, "h.0.w.weight"},
      {"files that changed places", {matrix_}, {embedding_}, "h.0.w.weight"},
      {"a file without its tensor", {embedding_}, {}, "h.0.w.weight"},
      {"a tensor of another name", {embedding_}, {renamed}, "h.0.v.weight"},
      {"a tensor more", {embedding_, renamed}, {matrix_}, "h.0.v.weight"},
  };
  WriteIndex(kIndex);
  for (const Case& c : cases) {
    Write("a.safetensors", c.first);
    Write("b.safetensors", c.second);
    EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)))
        << c.name;
  }
  // The last shard is cut off in the midst of its tensor.
  Write("a.safetensors", {embedding_});
  Write("b.safetensors", {matrix_});
  ASSERT_OK(Open());
  const std::string shard = directory_ + "/b.safetensors";
  std::filesystem::resize_file(shard, std::filesystem::file_size(shard) - 4);
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(shard)));
}

TEST_F(HuggingFaceWeightsTest, TensorsOfOverlappingBytesAreNamedWithTheirFile) {
  const std::string header =
      R"({"wte.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},)"
      R"( "h.0.w.weight": {"dtype": "F32", "shape": [3], "data_offsets": [12, 24]}})";
  const uint64_t length = header.size();
  const std::string path = directory_ + "/model.safetensors";
  ASSERT_OK(AtomicWriteFile(path, std::string(reinterpret_cast<const char*>(&length), 8) + header +
                                      std::string(24, '\0')));
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument,
                               AllOf(HasSubstr(path), HasSubstr("tensor h.0.w.weight"))));
}

// Each tensor has the type that its file says, whatever the others have.
TEST_F(HuggingFaceWeightsTest, TypesMayDifferFromTensorToTensor) {
  const double fourths[] = {0.25, -0.5, 1e-300, 3};
  model_.units[1].parameters.push_back({.name = "h.0.b.bias", .shape = {2}});
  model_.units[1].parameters.push_back({.name = "h.0.c.bias", .shape = {4}});
  Write("a.safetensors", {{"wte.weight", "BF16", {2, 2}, Halves({0x3f80, 0, 0, 0xc000})}, matrix_});
  Write("b.safetensors",
        {{"h.0.b.bias", "F16", {2}, Halves({0x3c00, 0xc000})},
         {"h.0.c.bias", "F64", {4}, {reinterpret_cast<const char*>(fourths), sizeof(fourths)}}});
  WriteIndex(R"({"weight_map": {"wte.weight": "a.safetensors", "h.0.w.weight": "a.safetensors",
      "h.0.b.bias": "b.safetensors", "h.0.c.bias": "b.safetensors"}})");
  ASSERT_OK_AND_ASSIGN(const HuggingFaceWeights weights, Match());
  const auto read = [&](int unit, int parameter, int64_t size) {
    std::vector<float> values(size);
    EXPECT_OK(weights.Read(unit, parameter, 0, absl::MakeSpan(values)));
    return values;
  };
  EXPECT_THAT(read(0, 0, 4), ElementsAre(1, 0, 0, -2));
  EXPECT_THAT(read(1, 0, 3), ElementsAre(5, 6, 7));
  EXPECT_THAT(read(1, 1, 2), ElementsAre(1, -2));
  EXPECT_THAT(read(1, 2, 4), ElementsAre(0.25f, -0.5f, 0, 3));
}

// The element type of each file is its own; bytes are counted as they lie there.
TEST_F(HuggingFaceWeightsTest, BytesThatAreReadAreCounted) {
  Write("model.safetensors",
        {embedding_, {"h.0.w.weight", "F16", {3}, Halves({0x3c00, 0x8001, 0x7bff})}});
  ASSERT_OK_AND_ASSIGN(const HuggingFaceWeights weights, Match());
  EXPECT_EQ(files_->bytes_read(), 0);
  std::vector<float> values(2);
  ASSERT_OK(weights.Read(0, 0, 1, absl::MakeSpan(values)));
  EXPECT_EQ(files_->bytes_read(), 8);
  ASSERT_OK(weights.Read(1, 0, 1, absl::MakeSpan(values)));
  EXPECT_EQ(files_->bytes_read(), 12);
}

TEST_F(HuggingFaceWeightsTest, DirectoryWithoutTensorsIsNotFound) {
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kNotFound, HasSubstr("model.safetensors")));
}

TEST_F(HuggingFaceWeightsTest, FaultsNameTheTensor) {
  struct Case {
    std::vector<Tensor> tensors;
    const char* message;
  };
  const Tensor prefixed{"model.wte.weight", "F32", {2, 2}, Floats({1, 2, 3, 4})};
  const Case cases[] = {
      {{embedding_}, "tensor h.0.w.weight (or the same behind transformer. or model.) is missing"},
      {{embedding_, {"h.0.w.weight", "F32", {4}, Floats({5, 6, 7, 8})}},
       "tensor h.0.w.weight must have the shape [3], but has [4]"},
      {{embedding_, {"h.0.w.weight", "F32", {3, 1}, Floats({5, 6, 7})}},
       "tensor h.0.w.weight must have the shape [3], but has [3, 1]"},
      {{embedding_, {"h.0.w.weight", "I32", {3}, Floats({5, 6, 7})}},
       "tensor h.0.w.weight must be F32, F16, BF16 or F64, but is I32"},
      {{embedding_, prefixed, matrix_},
       "tensors wte.weight and model.wte.weight are the same parameter"},
      {{embedding_, matrix_, {"h.1.w.weight", "F32", {1}, Floats({1})}},
       "tensor h.1.w.weight is not one of this model's"},
  };
  for (const Case& c : cases) {
    Write("model.safetensors", c.tensors);
    EXPECT_THAT(Match(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(c.message)));
  }
}

TEST_F(HuggingFaceWeightsTest, BuffersAndTheTiedHeadArePassedOver) {
  Write("model.safetensors", {embedding_,
                              matrix_,
                              {"lm_head.weight", "F32", {2, 2}, embedding_.bytes},
                              {"h.0.attn.bias", "F32", {1, 1, 1, 1}, Floats({1})},
                              {"h.0.attn.masked_bias", "F32", {}, Floats({1})}});
  EXPECT_OK(Match().status());
  ASSERT_OK_AND_ASSIGN(const bool own_head, HasOwnHead(*files_));
  EXPECT_FALSE(own_head);
}

TEST_F(HuggingFaceWeightsTest, HeadThatDiffersFromTheEmbeddingIsTheModelsOwn) {
  Write("model.safetensors",
        {embedding_, matrix_, {"lm_head.weight", "F32", {2, 2}, Floats({1, 2, 3, 5})}});
  ASSERT_OK(Open());
  ASSERT_OK_AND_ASSIGN(const bool own_head, HasOwnHead(*files_));
  EXPECT_TRUE(own_head);
}

// Ranks share the comparison, and no one reads more than its part.
TEST_F(HuggingFaceWeightsTest, EachPartOfTheHeadIsComparedOnce) {
  Write("model.safetensors",
        {embedding_, matrix_, {"lm_head.weight", "F32", {2, 2}, Floats({1, 2, 3, 5})}});
  for (const int parts : {1, 2, 3, 4, 7}) {
    int64_t bytes = 0;
    int own = 0;
    for (int part = 0; part < parts; ++part) {
      ASSERT_OK(Open());
      ASSERT_OK_AND_ASSIGN(const bool own_head, HasOwnHead(*files_, part, parts));
      own += own_head ? 1 : 0;
      EXPECT_LE(files_->bytes_read(), 8 * ((4 + parts - 1) / parts));
      bytes += files_->bytes_read();
    }
    EXPECT_EQ(own, 1) << parts;
    EXPECT_EQ(bytes, 2 * 16) << parts;
  }
}

TEST_F(HuggingFaceWeightsTest, FilesThatAreCutOffOrScrambledAreNamed) {
  Write("model.safetensors", {embedding_, matrix_});
  const std::string path = directory_ + "/model.safetensors";
  ASSERT_OK_AND_ASSIGN(const std::string whole, ReadFile(path));
  struct Case {
    const char* name;
    std::string bytes;
  };
  std::string long_header = whole, scrambled = whole;
  long_header[3] = 1;  // 16 MB of header
  scrambled[9] = '\0';
  const Case cases[] = {{"empty", ""},
                        {"within the length", whole.substr(0, 5)},
                        {"within the header", whole.substr(0, 30)},
                        {"within the tensors", whole.substr(0, whole.size() - 1)},
                        {"too long", whole + "x"},
                        {"a header beyond the file", long_header},
                        {"no JSON", scrambled}};
  for (const Case& c : cases) {
    ASSERT_OK(AtomicWriteFile(path, c.bytes));
    EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(path))) << c.name;
  }
}

TEST_F(HuggingFaceWeightsTest, TiedEmbeddingMayStandAsHead) {
  Write("model.safetensors", {{"lm_head.weight", "F32", {2, 2}, embedding_.bytes}, matrix_});
  ASSERT_OK_AND_ASSIGN(const HuggingFaceWeights weights, Match());
  EXPECT_EQ(weights.TensorName(0, 0), "lm_head.weight");
}

TEST_F(HuggingFaceWeightsTest, AdaptersMayBeMissing) {
  model_.units[1].parameters.push_back({.name = "h.0.w.lora_A.weight", .shape = {1, 3}});
  Write("model.safetensors", {embedding_, matrix_});
  ASSERT_OK_AND_ASSIGN(const HuggingFaceWeights weights, Match());
  EXPECT_TRUE(weights.Has(1, 0));
  EXPECT_FALSE(weights.Has(1, 1));
}

// Against the definition, for every bit pattern.
TEST(HalfFloatsTest, EveryFloat16HasItsValue) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const int exponent = static_cast<int>(bits >> 10 & 0x1f);
    const double fraction = bits & 0x3ff;
    const double sign = bits & 0x8000 ? -1 : 1;
    const float value = FloatOfFloat16(static_cast<uint16_t>(bits));
    if (exponent == 31 && fraction != 0) {
      EXPECT_TRUE(std::isnan(value)) << bits;
      continue;
    }
    const double expected = exponent == 31  ? INFINITY
                            : exponent == 0 ? std::ldexp(fraction, -24)
                                            : std::ldexp(1024 + fraction, exponent - 25);
    ASSERT_EQ(value, sign * expected) << bits;
  }
}

TEST(HalfFloatsTest, EveryHalfComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    ASSERT_EQ(Float16OfFloat(FloatOfFloat16(half)), half);
    ASSERT_EQ(Bfloat16OfFloat(FloatOfBfloat16(half)), half);
  }
}

// Between two neighbours: to the nearer one, from the middle to the even one.
TEST(HalfFloatsTest, OtherValuesAreRoundedToTheNearest) {
  for (uint16_t bits = 0; bits < 0x7bff; ++bits) {
    const float below = FloatOfFloat16(bits);
    const float above = FloatOfFloat16(bits + 1);
    const float middle = (below + above) / 2;
    ASSERT_EQ(Float16OfFloat(middle), bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(Float16OfFloat(std::nextafter(middle, below)), bits);
    ASSERT_EQ(Float16OfFloat(std::nextafter(-middle, -above)), 0x8000 | (bits + 1));
  }
  for (uint16_t bits = 0; bits < 0x7f7f; ++bits) {
    const float middle = std::bit_cast<float>(static_cast<uint32_t>(bits) << 16 | 0x8000);
    ASSERT_EQ(Bfloat16OfFloat(middle), bits % 2 == 0 ? bits : bits + 1);
    ASSERT_EQ(Bfloat16OfFloat(std::nextafter(middle, 0.0f)), bits);
    ASSERT_EQ(Bfloat16OfFloat(std::nextafter(middle, INFINITY)), bits + 1);
  }
  EXPECT_EQ(Float16OfFloat(65519.0f), 0x7bff);
  EXPECT_EQ(Float16OfFloat(65520.0f), 0x7c00);
  EXPECT_EQ(Float16OfFloat(-1e30f), 0xfc00);
  EXPECT_EQ(Bfloat16OfFloat(3.4e38f), 0x7f80);
}

}  // namespace
}  // namespace sotto::checkpoint
