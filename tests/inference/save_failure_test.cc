// Models written back by all ranks at once: what a rank that fails and a power cut leave.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/file_operations.h"
#include "common/checkpoint/testing/file_trace.h"
#include "common/checkpoint/testing/forwarding_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/inference/golden_model.h"
#include "tests/inference/saving_ranks.h"

namespace sotto::inference {
namespace {

using checkpoint::FileOperation;
using checkpoint::ForwardingFiles;
using checkpoint::RecordingFiles;
using layout::Strategy;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Kind = FileOperation::Kind;

constexpr const char* kLlama = kGoldenModels[1];

class SaveFailureTest : public testing::Test {
 protected:
  SaveFailureTest()
      : folder_(*MakeTempDir(testing::TempDir() + "/save-failure-")),
        out_(folder_ + "/out/model") {}
  ~SaveFailureTest() override { std::filesystem::remove_all(folder_); }

  // Of what lies beside the directory, or in its place.
  std::vector<std::string> Leftovers() const {
    std::vector<std::string> names;
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ + "/out", ignored)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

  const std::string folder_;
  const std::string out_;
};

// Fails at one kind of operation.
class FailingFiles : public ForwardingFiles {
 public:
  explicit FailingFiles(Kind kind) : kind_(kind) {}

  absl::Status Reserve(int file, int64_t bytes) override {
    return Fails(Kind::kReserve) ? Full() : ForwardingFiles::Reserve(file, bytes);
  }
  absl::Status WriteAt(int file, int64_t begin, absl::string_view bytes) override {
    return Fails(Kind::kWrite) ? Full() : ForwardingFiles::WriteAt(file, begin, bytes);
  }
  absl::Status Sync(int file) override {
    return Fails(Kind::kSync) ? Full() : ForwardingFiles::Sync(file);
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    return Fails(Kind::kRename) ? Full() : ForwardingFiles::Rename(from, to);
  }

 private:
  bool Fails(Kind kind) const { return kind == kind_; }
  static absl::Status Full() { return absl::UnavailableError("No space left on device"); }

  const Kind kind_;
};

TEST_F(SaveFailureTest, ARankThatFailsLeavesNothingAndAllReportIt) {
  struct Case {
    int rank;
    Kind kind;
  };
  const Case cases[] = {{0, Kind::kReserve}, {0, Kind::kWrite}, {1, Kind::kWrite},
                        {1, Kind::kSync},    {2, Kind::kWrite}, {0, Kind::kRename}};
  const Grid grids[] = {{Strategy::kFullShard, 3},
                        {Strategy::kShardGradOp, 3},
                        {Strategy::kNoShard, 3},
                        {Strategy::kHybridShard, 6, 3}};
  ASSERT_OK_AND_ASSIGN(const Source source, Source::Open(kLlama));
  for (const Grid& grid : grids) {
    for (const Case& c : cases) {
      SCOPED_TRACE(absl::StrCat(Describe(grid), ", rank ", c.rank, ", operation ",
                                static_cast<int>(c.kind)));
      std::vector<absl::Status> statuses(grid.world_size);
      ASSERT_OK(RunWithModel(
          source, grid, [&](infer::ShardedModel& model, comm::Communicator& ranks) -> absl::Status {
            FailingFiles failing(c.kind);
            infer::SaveOptions options{.directory = out_};
            if (ranks.rank() == c.rank) options.files = &failing;
            statuses[ranks.rank()] = infer::SaveModel(model, ranks, source.plan, options);
            return ranks.Barrier();  // The communicator is still of use.
          }));
      for (const absl::Status& status : statuses) {
        EXPECT_EQ(status, statuses.front());
        EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable,
                                     AllOf(HasSubstr(absl::StrCat("rank ", c.rank, ": ")),
                                           HasSubstr("No space left on device"))));
      }
      EXPECT_THAT(Leftovers(), IsEmpty());
    }
  }
  EXPECT_OK(Save(source, grids[0], {.directory = out_}, {&checkpoint::DiskOperations::Get()}));
}

using Disk = std::map<std::string, std::string>;

// What of a disk is the directory.
Disk Inside(const Disk& disk, const std::string& directory) {
  Disk inside;
  for (const auto& [path, bytes] : disk) {
    if (absl::StartsWith(path, directory + "/")) inside[path] = bytes;
  }
  return inside;
}

// The first prefix after which a power cut leaves a part of the directory; empty: there is none.
// Before the rename nothing has its name.
std::string FindHarm(const std::vector<FileOperation>& trace, const Disk& whole,
                     const std::string& directory) {
  const auto rename = std::find_if(trace.begin(), trace.end(), [](const FileOperation& operation) {
    return operation.kind == Kind::kRename;
  });
  for (size_t end = rename - trace.begin(); end <= trace.size(); ++end) {
    const absl::Span<const FileOperation> done = absl::MakeSpan(trace).subspan(0, end);
    for (const checkpoint::PowerCut& cut : checkpoint::PowerCuts(done)) {
      const Disk inside = Inside(checkpoint::AfterPowerCut(done, cut), directory);
      if (inside.empty() ? end < trace.size() : inside == whole) continue;
      return absl::StrCat("after \"", ToString(done.back()), "\": ", inside.size(), " names");
    }
  }
  return "";
}

TEST_F(SaveFailureTest, APowerCutLeavesAllOrNothing) {
  ASSERT_OK_AND_ASSIGN(const Source source, Source::Open(kLlama));
  for (const Grid& grid : {Grid{Strategy::kFullShard, 3}, Grid{Strategy::kNoShard, 2},
                           Grid{Strategy::kHybridShard, 4, 2}}) {
    SCOPED_TRACE(Describe(grid));
    RecordingFiles files;
    ASSERT_OK(Save(source, grid, {.directory = out_, .max_file_bytes = 60000}, {&files}));
    std::vector<FileOperation> trace = files.trace();
    // What the folder's destructor cleans up after it was published: there is nothing.
    while (trace.back().kind == Kind::kRemove) trace.pop_back();
    Disk whole;
    whole[out_ + "/"] = "";
    for (const auto& entry : std::filesystem::directory_iterator(out_)) {
      whole[entry.path().string()] = *ReadFile(entry.path().string());
    }
    ASSERT_EQ(FindHarm(trace, whole, out_), "");
    for (size_t i = 0; i < trace.size(); ++i) {  // Every sync of every rank is needed.
      if (trace[i].kind != Kind::kSync) continue;
      std::vector<FileOperation> without = trace;
      without.erase(without.begin() + static_cast<int64_t>(i));
      EXPECT_THAT(FindHarm(without, whole, out_), Not(IsEmpty())) << ToString(trace[i]);
    }
    std::filesystem::remove_all(out_);
  }
}

}  // namespace
}  // namespace sotto::inference
