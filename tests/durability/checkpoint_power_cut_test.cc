// Every prefix of what saves do to the disk, with what was not synced lost: a start must load the
// last checkpoint that was committed, or the one that was being saved.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/checkpoint_folder.h"
#include "common/checkpoint/testing/file_trace.h"
#include "common/checkpoint/testing/numbered_checkpoints.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::checkpoint {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;
using Kind = FileOperation::Kind;

// An operation, and the steps of the checkpoints that were committed when it was issued (0: none)
// and that was being saved.
struct Issued {
  FileOperation operation;
  int64_t committed = 0;
  int64_t saving = 0;
};

struct Recording {
  std::string root;
  std::vector<Issued> issued;
  int64_t last = 0;
};

// Three saves by which each older one goes.
absl::StatusOr<Recording> RecordSaves(const std::string& folder) {
  Recording recording{.root = folder + "/job-1/checkpoints"};
  RecordingFiles files;
  for (const int64_t step : {10, 20, 30}) {
    RETURN_IF_ERROR(SaveNumberedInOrder(recording.root, {step, 1}, {.keep = 1}, files));
    const std::vector<FileOperation> trace = files.trace();
    for (size_t i = recording.issued.size(); i < trace.size(); ++i) {
      recording.issued.push_back({trace[i], recording.last, step});
    }
    recording.last = step;
  }
  return recording;
}

// What a start makes of the disk; empty when all is well.
std::string Complain(const std::map<std::string, std::string>& disk, const Recording& recording,
                     int64_t committed, int64_t saving) {
  const absl::StatusOr<std::string> restart = MakeTempDir(::testing::TempDir() + "/restart-");
  if (!restart.ok()) return restart.status().ToString();
  const absl::Status made = Materialise(disk, recording.root, *restart);
  if (!made.ok()) return made.ToString();
  const absl::StatusOr<CheckpointName> loaded = LoadNumbered(*restart);
  std::filesystem::remove_all(*restart);
  if (!loaded.ok()) {
    return committed == 0 && absl::IsNotFound(loaded.status()) ? "" : loaded.status().ToString();
  }
  if (loaded->step == committed || loaded->step == saving) return "";
  return absl::StrCat("loads step ", loaded->step);
}

// The first few prefixes after which a power cut does harm.
std::vector<std::string> FindHarm(const Recording& recording, size_t enough = 3) {
  std::vector<std::string> harm;
  std::vector<FileOperation> done;
  std::set<std::tuple<std::map<std::string, std::string>, int64_t, int64_t>> seen;
  for (size_t end = 0; end <= recording.issued.size() && harm.size() < enough; ++end) {
    if (end > 0) done.push_back(recording.issued[end - 1].operation);
    const bool is_over = end == recording.issued.size();
    const int64_t committed = is_over ? recording.last : recording.issued[end].committed;
    const int64_t saving = is_over ? recording.last : recording.issued[end].saving;
    for (const PowerCut& cut : PowerCuts(done)) {
      const auto disk = AfterPowerCut(done, cut);
      if (!seen.insert({disk, committed, saving}).second) continue;
      const std::string complaint = Complain(disk, recording, committed, saving);
      if (complaint.empty()) continue;
      harm.push_back(
          absl::StrCat("power cut after \"", done.empty() ? "nothing" : ToString(done.back()),
                       "\", spared names ", cut.names, cut.torn ? ", torn" : "", ": ", complaint));
      break;
    }
  }
  return harm;
}

// The recording of a program that leaves some operations out.
Recording Without(Recording recording,
                  const std::function<bool(const FileOperation&)>& is_left_out) {
  auto& issued = recording.issued;
  issued.erase(std::remove_if(issued.begin(), issued.end(),
                              [&](const Issued& one) { return is_left_out(one.operation); }),
               issued.end());
  return recording;
}

// The recording of a program that gives a checkpoint its name before it syncs the manifest.
Recording RenamedBeforeTheSync(Recording recording) {
  auto& issued = recording.issued;
  for (size_t i = 0; i < issued.size(); ++i) {
    const FileOperation rename = issued[i].operation;
    if (rename.kind != Kind::kRename || !absl::StrContains(rename.path, kWritingPrefix)) continue;
    size_t to = i;
    while (issued[to].operation.kind != Kind::kSync) --to;
    const Issued moved = issued[i];
    issued.erase(issued.begin() + i);
    for (size_t j = to; j < i; ++j) {
      std::string& path = issued[j].operation.path;
      path = absl::StrReplaceAll(path, {{rename.path, rename.bytes}});
    }
    issued.insert(issued.begin() + to, moved);
  }
  return recording;
}

class CheckpointPowerCutTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(folder_, MakeTempDir(::testing::TempDir() + "/power-cut-"));
    ASSERT_OK_AND_ASSIGN(recording_, RecordSaves(folder_ + "/state"));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
  Recording recording_;
};

TEST_F(CheckpointPowerCutTest, DoesNoHarmAfterAnyOperation) {
  EXPECT_THAT(FindHarm(recording_), IsEmpty());
}

struct Twin {
  const char* name;
  std::function<bool(const FileOperation&)> is_left_out;
};

class ForgetfulSaveTest : public CheckpointPowerCutTest,
                          public ::testing::WithParamInterface<Twin> {};

// The test above can fail: each of these programs loses a checkpoint.
TEST_P(ForgetfulSaveTest, IsFoundOut) {
  const Recording twin = Without(recording_, GetParam().is_left_out);
  ASSERT_LT(twin.issued.size(), recording_.issued.size());
  EXPECT_THAT(FindHarm(twin, /*enough=*/1), Not(IsEmpty()));
}

INSTANTIATE_TEST_SUITE_P(Twins, ForgetfulSaveTest,
                         ::testing::ValuesIn<Twin>({
                             {"ShardsAreNotSynced",
                              [](const FileOperation& operation) {
                                return operation.kind == Kind::kSync &&
                                       absl::StrContains(operation.path, "rank-00001");
                              }},
                             {"TheManifestIsNotSynced",
                              [](const FileOperation& operation) {
                                return operation.kind == Kind::kSync &&
                                       absl::EndsWith(operation.path, kManifestFile);
                              }},
                             {"NamesOfTheFilesAreNotSynced",
                              [](const FileOperation& operation) {
                                return operation.kind == Kind::kSyncFolder &&
                                       absl::StrContains(operation.path, kWritingPrefix);
                              }},
                             {"NamesOfTheCheckpointsAreNotSynced",
                              [](const FileOperation& operation) {
                                return operation.kind == Kind::kSyncFolder &&
                                       absl::EndsWith(operation.path, "checkpoints");
                              }},
                             {"TheRootIsNotSynced",
                              [](const FileOperation& operation) {
                                return operation.kind == Kind::kSyncFolder &&
                                       absl::EndsWith(operation.path, "job-1");
                              }},
                         }),
                         [](const auto& info) { return info.param.name; });

TEST_F(CheckpointPowerCutTest, RenamingBeforeTheSyncIsFoundOut) {
  EXPECT_THAT(FindHarm(RenamedBeforeTheSync(recording_), /*enough=*/1), Not(IsEmpty()));
}

}  // namespace
}  // namespace sotto::checkpoint
