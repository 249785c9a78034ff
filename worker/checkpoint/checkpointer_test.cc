#include "worker/checkpoint/checkpointer.h"

#include <cmath>
#include <string>
#include <vector>

#include "ATen/ops/from_blob.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A unit of 100 parameters, aligned to 128 elements; padded to a multiple of 32 W.
constexpr int64_t kAligned = 128;

int64_t PaddedElements(int world_size) {
  const int64_t multiple = 32 * world_size;
  return (kAligned + multiple - 1) / multiple * multiple;
}

float ValueAt(const std::string& kind, int64_t element, int64_t step) {
  if (element >= 100) return 0;
  return (kind == "m" ? 0.5f : 1.f) * static_cast<float>(element + 1000 * step);
}

// What one rank holds.
struct Rank {
  Rank(int rank, int world_size)
      : size(PaddedElements(world_size) / world_size),
        begin(rank * size),
        master(size, 0.f),
        m(size, 0.f) {}

  std::vector<ShardState> States() {
    return {{"root", "master", at::from_blob(master.data(), {size}, at::kFloat)},
            {"root", "m", at::from_blob(m.data(), {size}, at::kFloat)}};
  }
  void Fill(int64_t step) {
    for (int64_t i = 0; i < size; ++i) {
      master[i] = ValueAt("master", begin + i, step);
      m[i] = ValueAt("m", begin + i, step);
    }
  }

  int64_t size;
  int64_t begin;
  std::vector<float> master;
  std::vector<float> m;
};

class CheckpointerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(root_, MakeTempDir(::testing::TempDir() + "/checkpointer-"));
  }

  Checkpointer MakeCheckpointer(int rank, int world_size, int64_t attempt = 1) {
    Checkpointer::Options options;
    options.directory = root_;
    options.rank = rank;
    options.world_size = world_size;
    options.keep = 2;
    options.manifest.set_job("job-1");
    options.manifest.set_attempt(attempt);
    options.manifest.set_optimizer(optimizer_);
    v1::CheckpointUnit& unit = *options.manifest.add_units();
    unit.set_name("root");
    unit.set_padded_elements(PaddedElements(world_size));
    v1::CheckpointTensor& tensor = *unit.add_tensors();
    tensor.set_name("wte.weight");
    tensor.add_shape(columns_);
    tensor.add_shape(10);
    return Checkpointer(options);
  }

  std::string Save(int world_size, int64_t step, int64_t attempt = 1) {
    for (int rank = 0; rank < world_size; ++rank) {
      Rank state(rank, world_size);
      state.Fill(step);
      SOTTO_CHECK_OK(MakeCheckpointer(rank, world_size, attempt).WriteShard(step, state.States()));
    }
    return *MakeCheckpointer(0, world_size, attempt).Commit(step);
  }

  std::string root_;
  std::string optimizer_ = "adamw";
  int64_t columns_ = 10;
};

TEST_F(CheckpointerTest, RestoresAtAnyWorldSize) {
  for (int written : {1, 2, 3, 8}) {
    const std::string directory = Save(written, /*step=*/10 + written, /*attempt=*/written);
    for (int read : {1, 2, 3, 5, 8}) {
      for (int rank = 0; rank < read; ++rank) {
        Rank state(rank, read);
        ASSERT_OK_AND_ASSIGN(Checkpointer::Restored restored,
                             MakeCheckpointer(rank, read).Restore(state.States()));
        EXPECT_EQ(restored.step, 10 + written);
        EXPECT_EQ(restored.directory, directory);
        EXPECT_THAT(restored.notes, IsEmpty());
        Rank expected(rank, read);
        expected.Fill(10 + written);
        EXPECT_EQ(state.master, expected.master) << written << " -> " << read << " rank " << rank;
        EXPECT_EQ(state.m, expected.m) << written << " -> " << read << " rank " << rank;
      }
    }
  }
}

TEST_F(CheckpointerTest, WithoutCheckpointsItIsAFreshStart) {
  Rank state(0, 1);
  EXPECT_THAT(MakeCheckpointer(0, 1).Restore(state.States()).status(),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(CheckpointerTest, DamagedCheckpointFallsBackToThePreviousAndSaysSo) {
  Save(2, 10);
  const std::string newest = Save(2, 20);
  const std::string file = newest + "/rank-00001-of-00002.safetensors";
  ASSERT_OK_AND_ASSIGN(std::string bytes, ReadFile(file));
  bytes[bytes.size() - 5] ^= 1;
  ASSERT_OK(AtomicWriteFile(file, bytes));
  Rank state(0, 1);
  ASSERT_OK_AND_ASSIGN(Checkpointer::Restored restored,
                       MakeCheckpointer(0, 1).Restore(state.States()));
  EXPECT_EQ(restored.step, 10);
  EXPECT_THAT(restored.notes, ElementsAre(HasSubstr("step-000000020")));
  EXPECT_EQ(state.master[1], ValueAt("master", 1, 10));
}

TEST_F(CheckpointerTest, AnotherOptimizerIsRefusedAndChangesNothing) {
  Save(1, 10);
  optimizer_ = "sgd";
  Rank state(0, 1);
  EXPECT_THAT(MakeCheckpointer(0, 1).Restore(state.States()).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("adamw")));
  EXPECT_THAT(state.master, ::testing::Each(0));
}

TEST_F(CheckpointerTest, AnotherModelIsRefused) {
  Save(1, 10);
  columns_ = 20;
  Rank state(0, 1);
  EXPECT_THAT(MakeCheckpointer(0, 1).Restore(state.States()).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another model")));
}

// A threshold of 0.1 that came back as 0.1 rounded once would part two ranks or two runs.
TEST_F(CheckpointerTest, NumbersComeBackToTheLastBit) {
  Rank state(0, 1);
  double clip_norm = std::nextafter(0.1, 1.0);
  double tiny = 1e-300 / 3;
  const std::vector<NumberState> saved = {{"clip_norm", &clip_norm}, {"moment", &tiny}};
  SOTTO_CHECK_OK(MakeCheckpointer(0, 1).WriteShard(10, state.States()));
  ASSERT_OK(MakeCheckpointer(0, 1).Commit(10, saved).status());
  double read_clip_norm = 0, read_tiny = 0;
  const std::vector<NumberState> read = {{"moment", &read_tiny}, {"clip_norm", &read_clip_norm}};
  ASSERT_OK(MakeCheckpointer(0, 1).Restore(state.States(), read).status());
  EXPECT_EQ(read_clip_norm, clip_norm);
  EXPECT_EQ(read_tiny, tiny);
}

TEST_F(CheckpointerTest, OtherNumbersAreRefusedAndChangeNothing) {
  Rank state(0, 1);
  double saved = 7;
  SOTTO_CHECK_OK(MakeCheckpointer(0, 1).WriteShard(10, state.States()));
  ASSERT_OK(
      MakeCheckpointer(0, 1).Commit(10, std::vector<NumberState>{{"clip_norm", &saved}}).status());
  double number = 1;
  for (const std::vector<NumberState>& expected :
       {std::vector<NumberState>{}, std::vector<NumberState>{{"moment", &number}},
        std::vector<NumberState>{{"clip_norm", &number}, {"moment", &number}}}) {
    EXPECT_THAT(MakeCheckpointer(0, 1).Restore(state.States(), expected).status(),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("clip_norm")));
    EXPECT_EQ(number, 1);
  }
}

}  // namespace
}  // namespace sotto::checkpoint
