// Checkpoints of one unit, and what their ranks hold.
#ifndef SOTTO_WORKER_CHECKPOINT_TESTING_CHECKPOINTER_FIXTURE_H_
#define SOTTO_WORKER_CHECKPOINT_TESTING_CHECKPOINTER_FIXTURE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "ATen/ops/from_blob.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_matchers.h"
#include "gtest/gtest.h"
#include "worker/checkpoint/checkpointer.h"

namespace sotto::checkpoint {

// A unit of 100 parameters, aligned to 128 elements; padded to a multiple of 32 W.
inline constexpr int64_t kAligned = 128;

inline int64_t PaddedElements(int world_size) {
  const int64_t multiple = 32 * world_size;
  return (kAligned + multiple - 1) / multiple * multiple;
}

inline float ValueAt(const std::string& kind, int64_t element, int64_t step) {
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

}  // namespace sotto::checkpoint

#endif  // SOTTO_WORKER_CHECKPOINT_TESTING_CHECKPOINTER_FIXTURE_H_
