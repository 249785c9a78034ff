// `sotto-check logits` against the golden models, under every strategy, and the model written back.
#include "tools/check/logits_check.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/checkpoint/hugging_face_writer.h"
#include "common/checkpoint/safetensors_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/check/random_model.h"

namespace sotto::check {
namespace {

using checkpoint::HuggingFaceFiles;
using checkpoint::SafetensorsEntry;
using checkpoint::SafetensorsReader;
using ::testing::HasSubstr;

constexpr char kModels[] = "tests/golden/models/";
constexpr const char* kNames[] = {"gpt2_tied", "llama_gqa"};
constexpr double kTolerance = 1e-5;

struct Ranks {
  const char* strategy;
  int world_size;
};
constexpr Ranks kRanks[] = {{"FULL_SHARD", 1},    {"FULL_SHARD", 2}, {"FULL_SHARD", 4},
                            {"SHARD_GRAD_OP", 2}, {"NO_SHARD", 2},   {"HYBRID_SHARD", 4}};

template <typename T>
std::vector<T> Read(const std::string& path, const char* dtype) {
  const auto file = *SafetensorsReader::Open(path);
  const SafetensorsEntry& entry = *file->Find("logits");
  EXPECT_EQ(entry.dtype, dtype);
  std::vector<T> values(entry.num_elements());
  std::memcpy(values.data(), file->Bytes(entry).data(), values.size() * sizeof(T));
  return values;
}

class LogitsTest : public testing::Test {
 protected:
  LogitsTest() : folder_(*MakeTempDir(testing::TempDir() + "/logits-")) {}
  ~LogitsTest() override { std::filesystem::remove_all(folder_); }

  LogitsOptions OptionsFor(const std::string& model) const {
    return {.model = kModels + model,
            .batch = kModels + model + "/batch.safetensors",
            .out = folder_ + "/out.safetensors"};
  }

  // Names, dtypes, shapes and bytes of both directories' tensors; and their configuration.
  static void ExpectSameModel(const std::string& a, const std::string& b) {
    EXPECT_EQ(*ReadFile(a + "/config.json"), *ReadFile(b + "/config.json"));
    ASSERT_OK_AND_ASSIGN(const auto first, HuggingFaceFiles::Open(a));
    ASSERT_OK_AND_ASSIGN(const auto second, HuggingFaceFiles::Open(b));
    EXPECT_EQ(first->tensors().size(), second->tensors().size());
    for (const auto& [name, tensor] : first->tensors()) {
      const auto found = second->tensors().find(name);
      ASSERT_NE(found, second->tensors().end()) << name;
      EXPECT_EQ(found->second.entry->dtype, tensor.entry->dtype) << name;
      EXPECT_EQ(found->second.entry->shape, tensor.entry->shape) << name;
      EXPECT_EQ(found->second.file->Bytes(*found->second.entry), tensor.file->Bytes(*tensor.entry))
          << name;
    }
  }

  // The model in files of at most `max_file_bytes`, with an index.
  static void Divide(const std::string& model, int64_t max_file_bytes, const std::string& out) {
    ASSERT_OK_AND_ASSIGN(const auto files, HuggingFaceFiles::Open(model));
    std::vector<checkpoint::TensorShape> shapes;
    for (const auto& [name, tensor] : files->tensors()) {
      shapes.push_back({name, tensor.entry->shape, tensor.entry->dtype});
    }
    ASSERT_OK_AND_ASSIGN(const auto writer, checkpoint::HuggingFaceWriter::Create(
                                                {.directory = out,
                                                 .config = *ReadFile(model + "/config.json"),
                                                 .max_file_bytes = max_file_bytes},
                                                shapes));
    for (const auto& [name, tensor] : files->tensors()) {
      std::vector<float> values(tensor.entry->num_elements());
      ASSERT_OK(checkpoint::ReadAsFloats(tensor, 0, absl::MakeSpan(values)));
      ASSERT_OK(writer->Append(values));
    }
    ASSERT_OK(writer->Finish());
    ASSERT_TRUE(std::filesystem::exists(out + "/model.safetensors.index.json"));
  }

  const std::string folder_;
};

TEST_F(LogitsTest, EveryStrategyReproducesTheGoldenModels) {
  for (const char* model : kNames) {
    const std::vector<double> expected =
        Read<double>(absl::StrCat(kModels, model, "/reference.safetensors"), "F64");
    std::vector<float> unsharded;
    for (const Ranks& ranks : kRanks) {
      SCOPED_TRACE(absl::StrCat(model, " ", ranks.strategy, " ", ranks.world_size));
      LogitsOptions options = OptionsFor(model);
      options.strategy = ranks.strategy;
      options.world_size = ranks.world_size;
      ASSERT_OK(WriteLogits(options));
      const std::vector<float> logits = Read<float>(options.out, "F32");
      ASSERT_EQ(logits.size(), expected.size());
      for (size_t i = 0; i < logits.size(); ++i) {
        ASSERT_NEAR(logits[i], expected[i], kTolerance) << i;
      }
      if (unsharded.empty()) unsharded = logits;
      EXPECT_EQ(logits, unsharded);  // Bit for bit.
    }
  }
}

TEST_F(LogitsTest, WritesTheModelBackBitForBit) {
  for (const char* model : kNames) {
    for (const Ranks& ranks : kRanks) {
      SCOPED_TRACE(absl::StrCat(model, " ", ranks.strategy, " ", ranks.world_size));
      LogitsOptions options = OptionsFor(model);
      options.strategy = ranks.strategy;
      options.world_size = ranks.world_size;
      options.save_model = absl::StrCat(folder_, "/", model, "-", ranks.strategy, ranks.world_size);
      ASSERT_OK(WriteLogits(options));
      ExpectSameModel(options.model, options.save_model);
      // What was written is a model like the one that was read.
      options.model = std::exchange(options.save_model, "");
      EXPECT_OK(WriteLogits(options));
    }
  }
}

// Files in half precision come back as they were: a float holds every one of their values.
TEST_F(LogitsTest, RandomModelsOfEveryDtypeAreReadAndWrittenBack) {
  for (const char* dtype : {"F32", "BF16", "F16"}) {
    SCOPED_TRACE(dtype);
    LogitsOptions options = OptionsFor("llama_gqa");
    options.model = absl::StrCat(folder_, "/random-", dtype);
    options.save_model = options.model + "-again";
    options.world_size = 2;
    ASSERT_OK(WriteRandomModel({.model = "{llama: {vocabulary_size: 97, width: 32, layers: 2, "
                                         "heads: 4, key_value_heads: 2, hidden_width: 48, "
                                         "max_length: 64}}",
                                .out = options.model,
                                .dtype = dtype,
                                .seed = 3})
                  .status());
    ASSERT_OK(WriteLogits(options));
    ExpectSameModel(options.model, options.save_model);
  }
}

TEST_F(LogitsTest, IndexedModelsAreReadAsOneAndWrittenBack) {
  for (const char* model : kNames) {
    LogitsOptions options = OptionsFor(model);
    ASSERT_OK(WriteLogits(options));
    const std::vector<float> expected = Read<float>(options.out, "F32");
    options.model = absl::StrCat(folder_, "/", model, "-divided");
    Divide(OptionsFor(model).model, /*max_file_bytes=*/10000, options.model);
    for (const int world_size : {1, 2, 4}) {
      SCOPED_TRACE(absl::StrCat(model, " ", world_size));
      options.world_size = world_size;
      options.save_model = absl::StrCat(options.model, "-", world_size);
      ASSERT_OK(WriteLogits(options));
      EXPECT_EQ(Read<float>(options.out, "F32"), expected);
      ExpectSameModel(options.model, options.save_model);
    }
  }
}

TEST_F(LogitsTest, FamiliesWithAHeadOfTheirOwnOrWithoutAreWrittenBack) {
  constexpr char kSizes[] = "vocabulary_size: 97, width: 32, layers: 2, heads: 4, max_length: 64";
  const std::string llama =
      absl::StrCat("llama: {", kSizes, ", key_value_heads: 2, hidden_width: 48");
  int models = 0;
  for (const std::string& family :
       {absl::StrCat("gpt2: {", kSizes), llama, llama + ", query_key_value_bias: true",
        llama + ", query_key_norm: true"}) {
    for (const char* head : {"untied_head: false", "untied_head: true"}) {
      SCOPED_TRACE(absl::StrCat(family, ", ", head));
      LogitsOptions options = OptionsFor("llama_gqa");
      options.model = absl::StrCat(folder_, "/", ++models);
      options.save_model = options.model + "-again";
      options.world_size = 1 << models % 3;
      ASSERT_OK(WriteRandomModel({.model = absl::StrCat("{", family, ", ", head, "}}"),
                                  .out = options.model,
                                  .seed = 7})
                    .status());
      ASSERT_OK(WriteLogits(options));
      ExpectSameModel(options.model, options.save_model);
    }
  }
}

TEST_F(LogitsTest, FoldersThatHoldSomethingAreLeftAlone) {
  LogitsOptions options = OptionsFor("gpt2_tied");
  options.save_model = folder_ + "/taken";
  std::filesystem::create_directory(options.save_model);
  ASSERT_OK(AtomicWriteFile(options.save_model + "/notes", "mine"));
  for (const int world_size : {1, 2}) {
    options.world_size = world_size;
    EXPECT_THAT(WriteLogits(options),
                StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("taken")));
    EXPECT_EQ(*ReadFile(options.save_model + "/notes"), "mine");
    EXPECT_FALSE(std::filesystem::exists(options.out));
  }
}

TEST_F(LogitsTest, TheBatchIsNotWrittenOver) {
  LogitsOptions options = OptionsFor("gpt2_tied");
  const std::string bytes = *ReadFile(options.batch);
  options.batch = options.out;
  ASSERT_OK(AtomicWriteFile(options.batch, bytes));
  EXPECT_THAT(WriteLogits(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--out must not")));
  EXPECT_EQ(*ReadFile(options.batch), bytes);
}

TEST_F(LogitsTest, BadOptionsAreRefusedByName) {
  struct Case {
    const char* name;
    void (*change)(LogitsOptions&);
  };
  const Case cases[] = {
      {"--world_size", [](LogitsOptions& o) { o.world_size = 0; }},
      {"--world_size", [](LogitsOptions& o) { o.world_size = 65; }},
      {"--strategy", [](LogitsOptions& o) { o.strategy = "ZERO"; }},
      {"--shard_group_size",
       [](LogitsOptions& o) {
         o.strategy = "HYBRID_SHARD";
         o.world_size = 4;
         o.shard_group_size = 3;
       }},
      {"--shard_group_size", [](LogitsOptions& o) { o.shard_group_size = 1; }},
      {"--shard_group_size",
       [](LogitsOptions& o) {
         o.strategy = "HYBRID_SHARD";
         o.shard_group_size = -3;
       }},
      {"--out", [](LogitsOptions& o) { o.out = ""; }},
      {"none.safetensors", [](LogitsOptions& o) { o.batch = "none.safetensors"; }},
      {"tokens", [](LogitsOptions& o) { o.batch = o.model + "/reference.safetensors"; }},
      {"nowhere", [](LogitsOptions& o) { o.model = "nowhere"; }},
  };
  for (const Case& c : cases) {
    LogitsOptions options = OptionsFor("llama_gqa");
    c.change(options);
    const absl::Status status = WriteLogits(options);
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.name));
    EXPECT_FALSE(std::filesystem::exists(options.out));
  }
}

}  // namespace
}  // namespace sotto::check
