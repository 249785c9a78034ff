// Every prefix of what an export of a Hugging Face directory does to the disk, by one writer or by
// several, with what was not synced lost: the directory is not there, or all of it is.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <ostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/checkpoint/hugging_face_folder.h"
#include "common/checkpoint/hugging_face_layout.h"
#include "common/checkpoint/hugging_face_part.h"
#include "common/checkpoint/hugging_face_writer.h"
#include "common/checkpoint/testing/file_trace.h"
#include "common/checkpoint/testing/forwarding_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::checkpoint {
namespace {

using ::testing::IsEmpty;
using ::testing::Not;
using Kind = FileOperation::Kind;

constexpr char kConfig[] = "{\"model_type\": \"llama\"}\n";
constexpr char kUnfinished[] = ".writing-";

// Larger than what a file system writes at once; one of the two files is of another dtype.
const std::vector<TensorShape> kTensors = {{"a", {3, 700}}, {"b", {900}}, {"c", {5000}, "BF16"}};

float ValueOf(int64_t element) { return static_cast<float>(element % 128); }

std::vector<float> ValuesOf(const TensorShape& tensor) {
  std::vector<float> values(tensor.num_elements());
  for (size_t i = 0; i < values.size(); ++i) values[i] = ValueOf(static_cast<int64_t>(i));
  return values;
}

absl::Status Export(const std::string& directory, int64_t max_file_bytes, FileOperations& files) {
  ASSIGN_OR_RETURN(const std::unique_ptr<HuggingFaceWriter> writer,
                   HuggingFaceWriter::Create({.directory = directory,
                                              .config = kConfig,
                                              .max_file_bytes = max_file_bytes,
                                              .files = &files},
                                             kTensors));
  for (const TensorShape& tensor : kTensors) {
    const std::vector<float> values = ValuesOf(tensor);
    const absl::Span<const float> all = values;
    RETURN_IF_ERROR(writer->Append(all.subspan(0, all.size() / 3)));
    RETURN_IF_ERROR(writer->Append(all.subspan(all.size() / 3)));
  }
  return writer->Finish();
}

// Each part has a range of every tensor, as ranks do; the ranges come in turn.
absl::Status ExportInParts(const std::string& directory, int64_t max_file_bytes, int parts,
                           FileOperations& files) {
  ASSIGN_OR_RETURN(const HuggingFaceLayout layout,
                   HuggingFaceLayout::Create(kTensors, max_file_bytes));
  ASSIGN_OR_RETURN(const std::unique_ptr<HuggingFaceFolder> folder,
                   HuggingFaceFolder::Create(
                       {.directory = directory, .config = kConfig, .files = &files}, layout));
  std::vector<std::unique_ptr<HuggingFacePart>> writers;
  for (int part = 0; part < parts; ++part) {
    writers.push_back(std::make_unique<HuggingFacePart>(layout, folder->path(), files));
  }
  for (size_t tensor = 0; tensor < kTensors.size(); ++tensor) {
    const std::vector<float> values = ValuesOf(kTensors[tensor]);
    const absl::Span<const float> all = values;
    for (int part = 0; part < parts; ++part) {
      const size_t begin = all.size() * part / parts;
      const size_t end = all.size() * (part + 1) / parts;
      RETURN_IF_ERROR(writers[part]->Write(static_cast<int>(tensor), static_cast<int64_t>(begin),
                                           all.subspan(begin, end - begin)));
    }
  }
  for (const auto& writer : writers) RETURN_IF_ERROR(writer->Sync());
  return folder->Publish();
}

// For exports whose power is not cut.
class HastyFiles : public ForwardingFiles {
 public:
  absl::Status Sync(int) override { return absl::OkStatus(); }
  absl::Status SyncFolder(const std::string&) override { return absl::OkStatus(); }
};

absl::Status CheckWhole(const std::string& directory) {
  ASSIGN_OR_RETURN(const std::string config, ReadFile(directory + "/config.json"));
  if (config != kConfig) return absl::DataLossError("config.json is another");
  ASSIGN_OR_RETURN(const auto files, HuggingFaceFiles::Open(directory));
  for (const TensorShape& shape : kTensors) {
    const auto tensor = files->tensors().find(shape.name);
    if (tensor == files->tensors().end()) return absl::DataLossError(shape.name + " is missing");
    std::vector<float> values(shape.num_elements());
    RETURN_IF_ERROR(ReadAsFloats(tensor->second, 0, absl::MakeSpan(values)));
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i] == ValueOf(static_cast<int64_t>(i))) continue;
      return absl::DataLossError(absl::StrCat(shape.name, " holds ", values[i], " at ", i));
    }
  }
  return absl::OkStatus();
}

// What a user makes of the disk; empty when all is well. `must_be_there`: the export has returned.
// What lies beside the directory does not keep a later export from writing it.
std::string Complain(const std::map<std::string, std::string>& disk, const std::string& root,
                     bool must_be_there) {
  const absl::StatusOr<std::string> restart = MakeTempDir(::testing::TempDir() + "/restart-");
  if (!restart.ok()) return restart.status().ToString();
  absl::Status status = Materialise(disk, root, *restart);
  const std::string directory = *restart + "/models/out";
  if (status.ok()) {
    if (std::filesystem::exists(directory)) {
      status = CheckWhole(directory);
    } else if (must_be_there) {
      status = absl::DataLossError("what was written is not there");
    } else {
      HastyFiles files;
      status = Export(directory, 0, files);
      if (status.ok()) status = CheckWhole(directory);
    }
  }
  std::filesystem::remove_all(*restart);
  return status.ok() ? "" : status.ToString();
}

// The last prefix after which a power cut does harm, which is found soonest; empty: there is none.
std::string FindHarm(const std::vector<FileOperation>& trace, const std::string& root) {
  std::set<std::pair<std::map<std::string, std::string>, bool>> seen;
  for (size_t left_out = 0; left_out <= trace.size(); ++left_out) {
    const size_t end = trace.size() - left_out;
    const absl::Span<const FileOperation> done = absl::MakeSpan(trace).subspan(0, end);
    const bool is_over = end == trace.size();
    for (const PowerCut& cut : PowerCuts(done)) {
      const auto disk = AfterPowerCut(done, cut);
      if (!seen.insert({disk, is_over}).second) continue;
      const std::string complaint = Complain(disk, root, /*must_be_there=*/is_over);
      if (complaint.empty()) continue;
      return absl::StrCat("power cut after \"", done.empty() ? "nothing" : ToString(done.back()),
                          "\", spared names ", cut.names, cut.torn ? ", torn: " : ": ", complaint);
    }
  }
  return "";
}

struct Case {
  const char* name;
  int64_t max_file_bytes = 0;
  int parts = 0;  // 0: HuggingFaceWriter
};

void PrintTo(const Case& tested, std::ostream* out) { *out << tested.name; }

class ExportPowerCutTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(root_, MakeTempDir(::testing::TempDir() + "/export-cut-"));
    RecordingFiles files;
    const auto& [name, max_file_bytes, parts] = GetParam();
    const std::string directory = root_ + "/models/out";
    ASSERT_OK(parts == 0 ? Export(directory, max_file_bytes, files)
                         : ExportInParts(directory, max_file_bytes, parts, files));
    ASSERT_OK(CheckWhole(root_ + "/models/out"));
    trace_ = files.trace();
    // What the writer's destructor cleans up after it returned: there is nothing.
    while (!trace_.empty() && trace_.back().kind == Kind::kRemove) trace_.pop_back();
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  // The trace of a program that leaves some operations out.
  std::vector<FileOperation> Without(
      const std::function<bool(const FileOperation&)>& is_left_out) const {
    std::vector<FileOperation> left;
    std::remove_copy_if(trace_.begin(), trace_.end(), std::back_inserter(left), is_left_out);
    EXPECT_LT(left.size(), trace_.size());
    return left;
  }

  std::string root_;
  std::vector<FileOperation> trace_;
};

INSTANTIATE_TEST_SUITE_P(
    Files, ExportPowerCutTest,
    ::testing::Values(Case{.name = "Single"}, Case{.name = "Indexed", .max_file_bytes = 9000},
                      Case{.name = "SingleOfThree", .parts = 3},
                      Case{.name = "IndexedOfTwo", .max_file_bytes = 9000, .parts = 2}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_P(ExportPowerCutTest, LeavesAllOrNothing) { EXPECT_EQ(FindHarm(trace_, root_), ""); }

TEST_P(ExportPowerCutTest, FilesThatAreNotSyncedAreFoundOut) {
  std::vector<std::string> names = {"safetensors", "config.json"};
  if (GetParam().max_file_bytes > 0) names.push_back("index.json");
  for (const std::string& name : names) {
    EXPECT_THAT(FindHarm(Without([&](const FileOperation& operation) {
                           return operation.kind == Kind::kSync &&
                                  absl::EndsWith(operation.path, name);
                         }),
                         root_),
                Not(IsEmpty()))
        << name;
  }
}

// A writer of several that leaves its own sync out is not saved by the others', nor by that of who
// made the file.
TEST_P(ExportPowerCutTest, EveryPartsOwnSyncIsNeeded) {
  std::set<int> openings;
  for (const FileOperation& operation : trace_) {
    if (operation.kind == Kind::kSync) openings.insert(operation.opened);
  }
  ASSERT_GE(openings.size(), 3u);
  for (const int opened : openings) {
    EXPECT_THAT(FindHarm(Without([&](const FileOperation& operation) {
                           return operation.kind == Kind::kSync && operation.opened == opened;
                         }),
                         root_),
                Not(IsEmpty()))
        << opened;
  }
}

TEST_P(ExportPowerCutTest, NamesThatAreNotSyncedAreFoundOut) {
  for (const bool of_the_files : {true, false}) {
    EXPECT_THAT(FindHarm(Without([&](const FileOperation& operation) {
                           return operation.kind == Kind::kSyncFolder &&
                                  absl::StrContains(operation.path, kUnfinished) == of_the_files &&
                                  (of_the_files || absl::EndsWith(operation.path, "/models"));
                         }),
                         root_),
                Not(IsEmpty()))
        << of_the_files;
  }
}

// A program that writes where the directory will be, without another name first.
TEST_P(ExportPowerCutTest, WritingInPlaceIsFoundOut) {
  std::vector<FileOperation> in_place;
  for (FileOperation operation : trace_) {
    if (operation.kind == Kind::kRename) continue;
    const size_t at = operation.path.find(kUnfinished);
    if (at != std::string::npos) {
      operation.path.erase(at, operation.path.find('/', at) - at);
    }
    in_place.push_back(operation);
  }
  EXPECT_THAT(FindHarm(in_place, root_), Not(IsEmpty()));
}

}  // namespace
}  // namespace sotto::checkpoint
