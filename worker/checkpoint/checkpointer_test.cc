#include "worker/checkpoint/checkpointer.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/checkpoint/testing/checkpointer_fixture.h"

namespace sotto::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

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
  Checkpointer checkpointer = MakeCheckpointer(0, 1);
  checkpointer.StartWriting(10, state.States(), saved);
  clip_norm = 0;  // Numbers are those of the moment.
  ASSERT_OK(checkpointer.AwaitWritten());
  checkpointer.StartCommit();
  ASSERT_OK(checkpointer.AwaitCommitted().status());
  double read_clip_norm = 0, read_tiny = 0;
  const std::vector<NumberState> read = {{"moment", &read_tiny}, {"clip_norm", &read_clip_norm}};
  ASSERT_OK(MakeCheckpointer(0, 1).Restore(state.States(), read).status());
  EXPECT_EQ(read_clip_norm, std::nextafter(0.1, 1.0));
  EXPECT_EQ(read_tiny, tiny);
}

TEST_F(CheckpointerTest, OtherNumbersAreRefusedAndChangeNothing) {
  Rank state(0, 1);
  double saved = 7;
  Checkpointer checkpointer = MakeCheckpointer(0, 1);
  ASSERT_OK(Write(checkpointer, 10, state, std::vector<NumberState>{{"clip_norm", &saved}}));
  checkpointer.StartCommit();
  ASSERT_OK(checkpointer.AwaitCommitted().status());
  double number = 1;
  for (const std::vector<NumberState>& expected :
       {std::vector<NumberState>{}, std::vector<NumberState>{{"moment", &number}},
        std::vector<NumberState>{{"clip_norm", &number}, {"moment", &number}}}) {
    EXPECT_THAT(MakeCheckpointer(0, 1).Restore(state.States(), expected).status(),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("clip_norm")));
    EXPECT_EQ(number, 1);
  }
}

// The wrapping of units is the job's choice of the day: tensors are found by name.
TEST_F(CheckpointerTest, UnitsMayBeWrappedOtherwise) {
  const auto make = [&](const std::vector<std::vector<int>>& units) {
    Checkpointer::Options options;
    options.directory = root_;
    options.manifest.set_attempt(1);
    for (const std::vector<int>& tensors : units) {
      v1::CheckpointUnit& unit = *options.manifest.add_units();
      unit.set_name(absl::StrCat("unit ", tensors[0]));
      for (size_t i = 0; i < tensors.size(); ++i) {
        v1::CheckpointTensor& tensor = *unit.add_tensors();
        tensor.set_name(absl::StrCat("tensor ", tensors[i]));
        tensor.add_shape(3);
        tensor.set_offset(static_cast<int64_t>(4 * i));
      }
      unit.set_padded_elements(static_cast<int64_t>(4 * tensors.size()));
    }
    return options;
  };
  std::vector<float> a = {1, 1, 1, 0, 2, 2, 2, 0}, b = {3, 3, 3, 0};
  const auto state = [](const char* unit, std::vector<float>& values) {
    return ShardState{unit, "master",
                      at::from_blob(values.data(), {static_cast<int64_t>(values.size())})};
  };
  Checkpointer writer(make({{1, 2}, {3}}));
  writer.StartWriting(10, {state("unit 1", a), state("unit 3", b)});
  ASSERT_OK(writer.AwaitWritten());
  writer.StartCommit();
  ASSERT_OK(writer.AwaitCommitted().status());

  Checkpointer reader(make({{3, 1}, {2}}));
  std::vector<float> c(8, -1), d(4, -1);
  ASSERT_OK(reader.Restore({state("unit 3", c), state("unit 2", d)}).status());
  EXPECT_THAT(c, ElementsAre(3, 3, 3, 0, 1, 1, 1, 0));
  EXPECT_THAT(d, ElementsAre(2, 2, 2, 0));

  Checkpointer stranger(make({{1, 2}, {4}}));
  EXPECT_THAT(stranger.Restore({state("unit 1", c), state("unit 4", d)}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("another model")));
}

TEST_F(CheckpointerTest, PositionsAreThoseOfTheStep) {
  Checkpointer::Options options;
  options.directory = root_;
  options.manifest.set_attempt(1);
  options.manifest.mutable_sampler()->set_kind("poisson");
  for (const int first : {0, 8, 20}) {
    v1::ReleasedSteps& released = *options.manifest.mutable_accountant()->add_released();
    released.set_first_step(first);
    released.set_end_step(first == 0 ? 8 : first == 8 ? 20 : 100);
    released.set_noise_multiplier(first);
  }
  Checkpointer checkpointer(options);
  Rank state(0, 1);
  ASSERT_OK(Write(checkpointer, 10, state));
  checkpointer.SetEvaluationLoss(1.25);
  checkpointer.StartCommit();
  ASSERT_OK_AND_ASSIGN(const std::string directory, checkpointer.AwaitCommitted());
  ASSERT_OK_AND_ASSIGN(const v1::CheckpointManifest manifest, ReadManifest(directory));
  EXPECT_EQ(manifest.sampler().next_step(), 10);
  ASSERT_EQ(manifest.accountant().released_size(), 2);
  EXPECT_EQ(manifest.accountant().released(0).end_step(), 8);
  EXPECT_EQ(manifest.accountant().released(1).end_step(), 10);
  EXPECT_EQ(manifest.accountant().released(1).noise_multiplier(), 8);
  EXPECT_EQ(manifest.evaluation_loss(), 1.25);

  options.manifest.mutable_sampler()->set_kind("shuffled");
  EXPECT_THAT(Checkpointer(options).Restore({}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("sampler")));
}

}  // namespace
}  // namespace sotto::checkpoint
