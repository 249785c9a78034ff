// `sotto-check gradients` against the golden models, in every mode and on several ranks.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/safetensors_reader.h"
#include "common/dataset/token_file_writer.h"
#include "common/layout/gradient_mode.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tools/check/gradients_check.h"

namespace sotto::check {
namespace {

using checkpoint::SafetensorsEntry;
using checkpoint::SafetensorsReader;
using ::testing::HasSubstr;

constexpr char kModels[] = "tests/golden/models/";
constexpr double kTolerance = 1e-5;

std::vector<double> Read(const SafetensorsReader& file, const SafetensorsEntry& entry) {
  const absl::Span<const uint8_t> bytes = file.Bytes(entry);
  std::vector<double> values(entry.num_elements());
  if (entry.dtype == "F64") {
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  EXPECT_EQ(entry.dtype, "F32") << entry.name;
  std::vector<float> floats(values.size());
  std::memcpy(floats.data(), bytes.data(), bytes.size());
  return {floats.begin(), floats.end()};
}

double Norm(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

// Every element on its own: one that is small must not hide behind a large one.
void ExpectElementsNear(const std::vector<double>& got, const std::vector<double>& want,
                        double tolerance) {
  ASSERT_EQ(got.size(), want.size());
  double largest = 0;
  for (const double value : want) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(got[i], want[i], tolerance * std::abs(want[i]) + 1e-2 * tolerance * largest) << i;
  }
}

std::vector<double> Difference(std::vector<double> a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
  return a;
}

double ClipNorm(const std::string& model) {
  return nlohmann::json::parse(*ReadFile(kModels + model + "/reference.json"))["clip_norm"];
}

class GradientsTest : public testing::Test {
 protected:
  GradientsTest() : folder_(*MakeTempDir(testing::TempDir() + "/gradients-")) {}
  ~GradientsTest() override { std::filesystem::remove_all(folder_); }

  GradientsOptions OptionsFor(const std::string& model, absl::string_view mode) const {
    return {.model = kModels + model,
            .batch = kModels + model + "/batch.safetensors",
            .mode = std::string(mode),
            .clip_norm = ClipNorm(model),
            .out = folder_ + "/out.safetensors"};
  }

  // Everything in the reference but its logits, tensor by tensor.
  void ExpectGolden(const std::string& model, const GradientsOptions& options,
                    double tolerance = kTolerance) {
    SCOPED_TRACE(absl::StrCat(model, " ", options.mode, " ", options.strategy, " ",
                              options.world_size, options.deferred_norms ? " deferred" : ""));
    ASSERT_OK(WriteGradients(options));
    ASSERT_OK_AND_ASSIGN(const auto got, SafetensorsReader::Open(options.out));
    ASSERT_OK_AND_ASSIGN(const auto want,
                         SafetensorsReader::Open(kModels + model + "/reference.safetensors"));
    EXPECT_EQ(got->header().entries.size() + 1, want->header().entries.size());
    double whole = 0;
    for (const SafetensorsEntry& entry : want->header().entries) {
      if (entry.name.rfind("clipped.", 0) == 0) whole = std::hypot(whole, Norm(Read(*want, entry)));
    }
    for (const SafetensorsEntry& entry : want->header().entries) {
      if (entry.name == "logits") continue;
      const SafetensorsEntry* found = got->Find(entry.name);
      ASSERT_NE(found, nullptr) << entry.name;
      EXPECT_EQ(found->shape, entry.shape) << entry.name;
      const std::vector<double> expected = Read(*want, entry);
      if (entry.name.rfind("clipped.", 0) != 0) {
        SCOPED_TRACE(entry.name);
        ExpectElementsNear(Read(*got, *found), expected, tolerance);
        continue;
      }
      EXPECT_LE(Norm(Difference(Read(*got, *found), expected)),
                tolerance * (Norm(expected) + 0.1 * whole))
          << entry.name;
    }
  }

  // A copy of the model in which a row of one of its matrices is not a number.
  std::string CopyWithoutNumbers(const std::string& model, const char* matrix, int64_t row) const {
    const std::string original = kModels + model + "/model.safetensors";
    const std::string folder = folder_ + "/model";
    std::filesystem::create_directory(folder);
    std::string bytes = *ReadFile(original);
    const auto reader = *SafetensorsReader::Open(original);
    const SafetensorsEntry& entry = *reader->Find(matrix);
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
    const std::vector<float> values(entry.shape[1], std::nanf(""));
    const size_t row_bytes = values.size() * sizeof(float);
    std::memcpy(bytes.data() + sizeof(header_bytes) + header_bytes + entry.begin + row * row_bytes,
                values.data(), row_bytes);
    EXPECT_OK(AtomicWriteFile(folder + "/model.safetensors", bytes));
    EXPECT_OK(
        AtomicWriteFile(folder + "/config.json", *ReadFile(kModels + model + "/config.json")));
    return folder;
  }

  const std::string folder_;
};

TEST_F(GradientsTest, EveryPrivateModeReproducesTheGoldenModels) {
  for (const char* model : {"gpt2_tied", "llama_gqa"}) {
    for (const layout::NamedMode& named : layout::kGradientModes) {
      if (named.mode.norm == layout::Norm::kNone) continue;
      GradientsOptions options = OptionsFor(model, named.name);
      ExpectGolden(model, options);
      options.deferred_norms = true;
      ExpectGolden(model, options);
    }
    ExpectGolden(model, OptionsFor(model, layout::kAutomaticMode));
    ExpectGolden(model, OptionsFor(model, "flash_fsdp_fuse_bk"));
  }
}

TEST_F(GradientsTest, EveryStrategyAndWorldSizeReproducesTheGoldenModels) {
  struct Case {
    const char* strategy;
    int world_size;
  };
  const Case cases[] = {{"FULL_SHARD", 2},
                        {"FULL_SHARD", 4},
                        {"SHARD_GRAD_OP", 2},
                        {"NO-SHARD", 2},  // as `modes` takes it, too
                        {"HYBRID_SHARD", 4}};
  for (const char* model : {"gpt2_tied", "llama_gqa"}) {
    for (const char* mode : {"per_example", "flash_bk"}) {
      for (const Case& c : cases) {
        GradientsOptions options = OptionsFor(model, mode);
        options.strategy = c.strategy;
        options.world_size = c.world_size;
        ExpectGolden(model, options);
      }
    }
  }
}

TEST_F(GradientsTest, MicroBatchSizeDoesNotMatter) {
  for (const int64_t size : {1, 5, 100, 100'000'000}) {
    GradientsOptions options = OptionsFor("gpt2_tied", "flash_bk");
    options.micro_batch_size = size;
    ExpectGolden("gpt2_tied", options);
  }
}

TEST_F(GradientsTest, NormsThatAreNotNumbersAreToldAsSuch) {
  constexpr char kModel[] = "llama_gqa";
  constexpr int64_t kToken = 95;  // of the first example alone
  const std::string folder = CopyWithoutNumbers(kModel, "model.embed_tokens.weight", kToken);
  ASSERT_OK_AND_ASSIGN(const auto golden, SafetensorsReader::Open(absl::StrCat(
                                              kModels, kModel, "/reference.safetensors")));
  const std::vector<double> expected = Read(*golden, *golden->Find("grad_norm"));
  for (const char* mode : {"per_example", "ghost", "flash_fuse_bk", "no_dp"}) {
    SCOPED_TRACE(mode);
    GradientsOptions options = OptionsFor(kModel, mode);
    options.model = folder;
    ASSERT_OK(WriteGradients(options));
    ASSERT_OK_AND_ASSIGN(const auto file, SafetensorsReader::Open(options.out));
    const std::vector<double> norms = Read(*file, *file->Find("grad_norm"));
    ASSERT_EQ(norms.size(), expected.size());
    EXPECT_TRUE(std::isnan(norms[0])) << norms[0];
    for (size_t b = 1; b < norms.size(); ++b) {
      EXPECT_NEAR(norms[b], expected[b], kTolerance * expected[b]) << b;
    }
  }
}

// With C above every norm nothing is clipped, and no mode but no_dp may differ from no_dp.
TEST_F(GradientsTest, UnclippedSumIsThatWithoutPrivacy) {
  GradientsOptions plain = OptionsFor("llama_gqa", "no_dp");
  plain.out = folder_ + "/plain.safetensors";
  ASSERT_OK(WriteGradients(plain));
  GradientsOptions options = OptionsFor("llama_gqa", "ghost");
  options.clip_norm = 1e6;
  ASSERT_OK(WriteGradients(options));
  ASSERT_OK_AND_ASSIGN(const auto a, SafetensorsReader::Open(plain.out));
  ASSERT_OK_AND_ASSIGN(const auto b, SafetensorsReader::Open(options.out));
  EXPECT_EQ(a->header().metadata.at("clip_norm"), "none");  // the file says what it holds
  EXPECT_EQ(b->header().metadata.at("clip_norm"), "1000000");
  EXPECT_EQ(b->header().metadata.at("mode"), "ghost");
  for (const SafetensorsEntry& entry : a->header().entries) {
    const std::vector<double> values = Read(*a, entry);
    EXPECT_LE(Norm(Difference(Read(*b, *b->Find(entry.name)), values)), 1e-5 * Norm(values) + 1e-6)
        << entry.name;
  }
}

// The bound of every mode and kind of layer, tensor by tensor, is measured by random roundings of
// the float64 model: tests/equivalence/bfloat16_test. These files come without such a model; what
// is checked here is that --dtype reaches the ranks, by a bound in closed form that is coarser. 8
// bits of significand: activations, weights and output gradients are each rounded to a relative
// 2^-9, and errors add up over the 2 blocks' 14 maps in quadrature, twice (forward and backward):
// 2^-9 * sqrt(2 * 14 * 3) = 1.8e-2.
TEST_F(GradientsTest, BfloatsStayWithinTheirRounding) {
  for (const char* model : {"gpt2_tied", "llama_gqa"}) {
    GradientsOptions options = OptionsFor(model, "per_example");
    options.dtype = "bf16";
    ExpectGolden(model, options, /*tolerance=*/1.8e-2);
    GradientsOptions single = OptionsFor(model, "per_example");
    single.out = folder_ + "/single.safetensors";
    ASSERT_OK(WriteGradients(single));
    ASSERT_OK_AND_ASSIGN(const auto a, SafetensorsReader::Open(options.out));
    ASSERT_OK_AND_ASSIGN(const auto b, SafetensorsReader::Open(single.out));
    const std::vector<double> norms = Read(*b, *b->Find("grad_norm"));
    // Nothing near float32's 1e-7: it was bfloat16 that ran.
    EXPECT_GT(Norm(Difference(Read(*a, *a->Find("grad_norm")), norms)), 1e-5 * Norm(norms));
  }
}

TEST_F(GradientsTest, PreparedDatasetsAreRefused) {
  GradientsOptions options = OptionsFor("gpt2_tied", "flash");
  options.batch = folder_ + "/tokens.bin";
  ASSERT_OK_AND_ASSIGN(dataset::TokenFileWriter writer,
                       dataset::TokenFileWriter::Create(options.batch, {.max_length = 4}));
  ASSERT_OK(writer.Add({1, 2, 3}, {}));
  ASSERT_OK(writer.Finish());
  EXPECT_THAT(WriteGradients(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("private")));
  EXPECT_FALSE(std::filesystem::exists(options.out));
}

TEST_F(GradientsTest, InputsAreNotWrittenOver) {
  const std::string golden = std::string(kModels) + "gpt2_tied";
  const std::string model = folder_ + "/model";
  std::filesystem::create_directory(model);
  for (const char* name : {"config.json", "model.safetensors", "batch.safetensors"}) {
    ASSERT_OK_AND_ASSIGN(const std::string bytes, ReadFile(golden + "/" + name));
    ASSERT_OK(AtomicWriteFile(model + "/" + name, bytes));
  }
  const std::string prepared = folder_ + "/tokens.bin";
  ASSERT_OK_AND_ASSIGN(dataset::TokenFileWriter writer,
                       dataset::TokenFileWriter::Create(prepared, {.max_length = 4}));
  ASSERT_OK(writer.Add({1, 2, 3}, {}));
  ASSERT_OK(writer.Finish());
  GradientsOptions options = OptionsFor("gpt2_tied", "flash");
  options.model = model;
  options.batch = model + "/batch.safetensors";
  for (const std::string& out :
       {options.batch, model + "/../model/batch.safetensors", model + "/model.safetensors",
        model + "/model.safetensors.index.json", model + "/config.json", prepared}) {
    SCOPED_TRACE(out);
    options.out = out;
    const bool existed = std::filesystem::exists(out);
    const std::string before = existed ? *ReadFile(out) : "";
    EXPECT_THAT(WriteGradients(options),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--out must not")));
    EXPECT_EQ(std::filesystem::exists(out), existed);
    if (existed) {
      EXPECT_EQ(*ReadFile(out), before);
    }
  }
  options.out = model + "/gradients.safetensors";
  EXPECT_OK(WriteGradients(options));
}

TEST_F(GradientsTest, UnknownModesAreToldTheNames) {
  GradientsOptions options = OptionsFor("gpt2_tied", "ghosty");
  const std::string message(WriteGradients(options).message());
  for (const char* name : {"\"ghosty\"", "flash_fuse_bk", "per_example", "auto", "ghost_fsdp_bk"}) {
    EXPECT_THAT(message, HasSubstr(name));
  }
}

TEST_F(GradientsTest, BadOptionsAreRefusedByName) {
  struct Case {
    const char* name;
    void (*change)(GradientsOptions&);
  };
  const Case cases[] = {
      {"--mode", [](GradientsOptions& o) { o.mode = "fast"; }},
      {"--clip_norm", [](GradientsOptions& o) { o.clip_norm.reset(); }},
      {"--clip_norm", [](GradientsOptions& o) { o.clip_norm = 0; }},
      {"--clip_norm", [](GradientsOptions& o) { o.clip_norm = std::nan(""); }},
      {"--clip_norm", [](GradientsOptions& o) { o.clip_norm = 1e-42; }},
      {"--clip_norm", [](GradientsOptions& o) { o.clip_norm = 1e13; }},
      {"--deferred_norms", [](GradientsOptions& o) { o.mode = "no_dp", o.deferred_norms = true; }},
      {"--dtype", [](GradientsOptions& o) { o.dtype = "fp8"; }},
      {"--strategy", [](GradientsOptions& o) { o.strategy = "ZERO"; }},
      {"--world_size", [](GradientsOptions& o) { o.world_size = 0; }},
      {"FULL_SHARD", [](GradientsOptions& o) { o.mode = "ghost_fsdp", o.strategy = "NO_SHARD"; }},
      {"none.safetensors", [](GradientsOptions& o) { o.batch = "none.safetensors"; }},
      {"config.json", [](GradientsOptions& o) { o.batch = o.model + "/config.json"; }},
      {"tokens", [](GradientsOptions& o) { o.batch = o.model + "/reference.safetensors"; }},
      {"nowhere", [](GradientsOptions& o) { o.model = "nowhere"; }},
  };
  for (const Case& c : cases) {
    GradientsOptions options = OptionsFor("gpt2_tied", "flash");
    c.change(options);
    const absl::Status status = WriteGradients(options);
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.name));
  }
}

}  // namespace
}  // namespace sotto::check
