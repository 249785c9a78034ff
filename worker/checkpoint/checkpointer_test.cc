#include "worker/checkpoint/checkpointer.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "ATen/ops/from_blob.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/mutex.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "common/checkpoint/testing/file_trace.h"
#include "common/checkpoint/testing/forwarding_files.h"
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
    return Checkpointer(Options(rank, world_size, attempt));
  }

  Checkpointer::Options Options(int rank, int world_size, int64_t attempt = 1) {
    Checkpointer::Options options;
    options.directory = root_;
    options.rank = rank;
    options.world_size = world_size;
    options.retention.keep = 2;
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
    return options;
  }

  // One rank's part of a save, from begin to end.
  absl::Status Write(Checkpointer& checkpointer, int64_t step, Rank& state,
                     absl::Span<const NumberState> numbers = {}) {
    checkpointer.StartWriting(step, state.States(), numbers);
    return checkpointer.AwaitWritten();
  }

  std::string Save(int world_size, int64_t step, int64_t attempt = 1) {
    for (int rank = world_size - 1; rank >= 0; --rank) {
      Checkpointer checkpointer = MakeCheckpointer(rank, world_size, attempt);
      Rank state(rank, world_size);
      state.Fill(step);
      SOTTO_CHECK_OK(Write(checkpointer, step, state));
      if (rank > 0) continue;
      checkpointer.StartCommit();
      return *checkpointer.AwaitCommitted();
    }
    return "";
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

// What the ranks write together is the state, once; none writes a byte of another's.
TEST_F(CheckpointerTest, EachRankWritesItsOwnShardAlone) {
  constexpr int kRanks = 3;
  std::vector<RecordingFiles> files(kRanks);
  for (int rank = 0; rank < kRanks; ++rank) {
    Checkpointer::Options options = Options(rank, kRanks);
    options.files = &files[rank];
    Checkpointer checkpointer(options);
    Rank state(rank, kRanks);
    state.Fill(10);
    ASSERT_OK(Write(checkpointer, 10, state));
    std::string written;
    for (const FileOperation& operation : files[rank].trace()) {
      if (!absl::StrContains(ToString(operation), "folder")) {
        ASSERT_THAT(operation.path, HasSubstr(absl::StrCat("/rank-0000", rank, "-of-00003.")))
            << ToString(operation);
      }
      if (operation.kind != FileOperation::Kind::kWrite) continue;
      if (absl::EndsWith(operation.path, ".safetensors")) written += operation.bytes;
    }
    // After the header there are its two shards, and nothing else.
    std::vector<float> expected = state.master;
    expected.insert(expected.end(), state.m.begin(), state.m.end());
    const size_t bytes = expected.size() * sizeof(float);
    uint64_t header = 0;
    ASSERT_GT(written.size(), bytes + sizeof(header));
    std::memcpy(&header, written.data(), sizeof(header));
    ASSERT_EQ(sizeof(header) + header + bytes, written.size());
    EXPECT_EQ(std::memcmp(written.data() + sizeof(header) + header, expected.data(), bytes), 0);
  }
}

// Holds every write back until it is let through.
class HeldFiles : public ForwardingFiles {
 public:
  absl::Status Write(int file, absl::string_view bytes) override {
    MutexLock lock(&mutex_, absl::Condition(&is_open_));
    return ForwardingFiles::Write(file, bytes);
  }
  absl::Status Sync(int file) override {
    MutexLock lock(&mutex_, absl::Condition(&may_sync_));
    return sync_result_.ok() ? ForwardingFiles::Sync(file) : sync_result_;
  }
  void LetWrite() {
    MutexLock lock(&mutex_);
    is_open_ = true;
  }
  void LetSync(absl::Status result = absl::OkStatus()) {
    MutexLock lock(&mutex_);
    sync_result_ = result;
    may_sync_ = true;
  }

 private:
  Mutex mutex_;
  bool is_open_ = false;
  bool may_sync_ = false;
  absl::Status sync_result_;
};

// What was begun at step 10 is what is saved, though the shard is changed before it is synced.
TEST_F(CheckpointerTest, ShardsMayChangeOnceTheyWereRead) {
  HeldFiles files;
  Checkpointer::Options options = Options(0, 1);
  options.files = &files;
  Checkpointer checkpointer(options);
  Rank state(0, 1);
  state.Fill(10);
  checkpointer.StartWriting(10, state.States());
  EXPECT_TRUE(checkpointer.IsWriting());
  files.LetWrite();
  checkpointer.AwaitRead();
  state.Fill(11);
  EXPECT_TRUE(checkpointer.IsWriting());  // The disk does not sync yet.
  files.LetSync();
  ASSERT_OK(checkpointer.AwaitWritten());
  checkpointer.StartCommit();
  ASSERT_OK(checkpointer.AwaitCommitted().status());
  Rank read(0, 1);
  ASSERT_OK(MakeCheckpointer(0, 1).Restore(read.States()).status());
  EXPECT_EQ(read.master[1], ValueAt("master", 1, 10));
}

TEST_F(CheckpointerTest, ErrorsOfTheBackgroundSurface) {
  HeldFiles files;
  Checkpointer::Options options = Options(0, 1);
  options.files = &files;
  Checkpointer checkpointer(options);
  Rank state(0, 1);
  checkpointer.StartWriting(10, state.States());
  files.LetWrite();
  files.LetSync(absl::UnavailableError("the disk is full"));
  checkpointer.AwaitRead();
  EXPECT_THAT(checkpointer.AwaitWritten(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("full")));
  EXPECT_OK(checkpointer.AwaitWritten());  // Told once.
}

// Rank 0 of a running attempt resumes from it: another attempt's retention must leave it alone.
TEST_F(CheckpointerTest, TheOneThatWasResumedFromStaysUntilTheNext) {
  const std::string first = Save(1, 10);
  Rank state(0, 1);
  Checkpointer resumed = MakeCheckpointer(0, 1, /*attempt=*/2);
  ASSERT_OK(resumed.Restore(state.States()).status());
  for (const int64_t step : {20, 30, 40}) Save(1, step);
  EXPECT_OK(Checkpoint::Open(first).status());
  ASSERT_OK(Write(resumed, 11, state));
  resumed.StartCommit();
  ASSERT_OK(resumed.AwaitCommitted().status());
  EXPECT_THAT(Checkpoint::Open(first).status(), StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace sotto::checkpoint
