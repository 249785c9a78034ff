// Models written back by all ranks at once: which rank writes which bytes, and what they make
// together.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/hugging_face_files.h"
#include "common/checkpoint/hugging_face_layout.h"
#include "common/checkpoint/safetensors_writer.h"
#include "common/checkpoint/testing/file_trace.h"
#include "common/layout/flat_layout.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/inference/changed_model.h"
#include "tests/inference/golden_model.h"
#include "tests/inference/saving_ranks.h"
#include "worker/fsdp/parameter_slice.h"

namespace sotto::inference {
namespace {

using checkpoint::FileOperation;
using checkpoint::FileOperations;
using checkpoint::HuggingFaceFiles;
using checkpoint::HuggingFaceLayout;
using checkpoint::RecordingFiles;
using checkpoint::TensorShape;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kGpt2 = kGoldenModels[0];
constexpr const char* kLlama = kGoldenModels[1];

struct Range {
  std::string file;
  int64_t begin = 0;
  int64_t end = 0;

  friend auto operator<=>(const Range&, const Range&) = default;
};

// What was written into tensors: a part opens files that the maker of the folder has created.
std::vector<Range> RangesOf(const std::vector<FileOperation>& trace) {
  std::vector<Range> ranges;
  for (const FileOperation& operation : trace) {
    if (operation.kind != FileOperation::Kind::kWrite ||
        !absl::EndsWith(operation.path, ".safetensors"))
      continue;
    if (operation.begin == 0) continue;  // the header
    const std::string name = std::filesystem::path(operation.path).filename().string();
    const int64_t end = operation.begin + static_cast<int64_t>(operation.bytes.size());
    if (!ranges.empty() && ranges.back().file == name && ranges.back().end == operation.begin) {
      ranges.back().end = end;
    } else {
      ranges.push_back({name, operation.begin, end});
    }
  }
  std::sort(ranges.begin(), ranges.end());
  return ranges;
}

// The elements of a parameter that the rank shall write, from the flat layout alone.
layout::Interval OwnElements(const layout::FlatLayout& flat, const Grid& grid, int rank, int unit,
                             int parameter) {
  const layout::RankGrid ranks = grid.ranks();
  const layout::Interval whole = flat.unit(unit).parameters[parameter].interval();
  if (ranks.shards == 1) {
    return {whole.size() * rank / grid.world_size, whole.size() * (rank + 1) / grid.world_size};
  }
  if (ranks.ReplicaOf(rank) > 0) return {};
  const layout::Interval shard = flat.Shard(unit, ranks.ShardOf(rank));
  const int64_t begin = std::max(whole.begin, shard.begin);
  return {begin - whole.begin, std::max(begin, std::min(whole.end, shard.end)) - whole.begin};
}

std::vector<Range> OwnRanges(const Source& source, const HuggingFaceLayout& files, const Grid& grid,
                             int rank) {
  const layout::FlatLayout flat =
      *layout::FlatLayout::Create(source.description, grid.ranks().shards);
  std::vector<Range> ranges;
  for (size_t i = 0; i < source.plan.tensors.size(); ++i) {
    const infer::SavePlan::Tensor& tensor = source.plan.tensors[i];
    const HuggingFaceLayout::Place& place = files.PlaceOf(static_cast<int>(i));
    const int64_t item = files.tensors()[i].num_bytes() / files.tensors()[i].num_elements();
    const layout::Interval own = OwnElements(flat, grid, rank, tensor.unit, tensor.parameter);
    if (own.size() == 0) continue;
    const Range range = {files.files()[place.file].name, place.begin + own.begin * item,
                         place.begin + own.end * item};
    if (!ranges.empty() && ranges.back().file == range.file && ranges.back().end == range.begin) {
      ranges.back().end = range.end;
    } else {
      ranges.push_back(range);
    }
  }
  std::sort(ranges.begin(), ranges.end());
  return ranges;
}

// Empty when every rank wrote what it owns and nothing else.
std::string Complain(const Source& source, const HuggingFaceLayout& files, const Grid& grid,
                     const std::vector<std::vector<FileOperation>>& traces) {
  for (int rank = 0; rank < grid.world_size; ++rank) {
    const std::vector<Range> written = RangesOf(traces[rank]);
    const std::vector<Range> own = OwnRanges(source, files, grid, rank);
    if (written == own) continue;
    return absl::StrCat("rank ", rank, " wrote ", written.size(), " ranges, not its ", own.size());
  }
  return "";
}

class SaveTest : public testing::Test {
 protected:
  SaveTest() : folder_(*MakeTempDir(testing::TempDir() + "/save-")), out_(folder_ + "/out") {}
  ~SaveTest() override { std::filesystem::remove_all(folder_); }

  absl::StatusOr<Source> Halved(const char* golden, const std::string& dtype) const {
    const std::string directory = absl::StrCat(folder_, "/", dtype);
    RETURN_IF_ERROR(
        WriteChanged(golden, directory, dtype, [](const std::string&, absl::Span<float>) {}));
    return Source::Open(directory);
  }

  // The bytes of each file of weights as one writer makes them, tensor after tensor.
  std::map<std::string, std::string> WrittenInOrder(const Source& source,
                                                    const HuggingFaceLayout& files) const {
    std::map<std::string, std::string> contents;
    const std::vector<TensorShape> shapes = source.Shapes();
    size_t next = 0;
    for (int file = 0; file < static_cast<int>(files.files().size()); ++file) {
      const size_t first = next;
      while (next < shapes.size() && files.PlaceOf(static_cast<int>(next)).file == file) ++next;
      const std::string path = folder_ + "/in-order";
      auto writer = *checkpoint::SafetensorsWriter::Create(
          path, absl::MakeSpan(shapes).subspan(first, next - first), {{"format", "pt"}});
      for (size_t i = first; i < next; ++i) {
        std::vector<float> values(shapes[i].num_elements());
        EXPECT_OK(
            checkpoint::ReadAsFloats(source.plan.tensors[i].source, 0, absl::MakeSpan(values)));
        EXPECT_OK(writer.Append(values));
      }
      EXPECT_OK(writer.Finish().status());
      contents[files.files()[file].name] = *ReadFile(path);
    }
    return contents;
  }

  const std::string folder_;
  const std::string out_;
};

TEST_F(SaveTest, EveryRankWritesItsOwnBytesAndTogetherTheyAreOneWritersFiles) {
  for (const char* dtype : {"F32", "BF16", "F16"}) {
    ASSERT_OK_AND_ASSIGN(const Source source, Halved(kLlama, dtype));
    for (const int64_t max_file_bytes : {0, 20000}) {
      ASSERT_OK_AND_ASSIGN(const HuggingFaceLayout files,
                           HuggingFaceLayout::Create(source.Shapes(), max_file_bytes));
      ASSERT_EQ(files.files().size() > 1, max_file_bytes > 0);
      const std::map<std::string, std::string> expected = WrittenInOrder(source, files);
      for (const Grid& grid : AllGrids()) {
        SCOPED_TRACE(absl::StrCat(dtype, ", files of ", max_file_bytes, ", ", Describe(grid)));
        std::vector<RecordingFiles> recorders(grid.world_size);
        std::vector<FileOperations*> of_ranks;
        for (RecordingFiles& recorder : recorders) of_ranks.push_back(&recorder);
        ASSERT_OK(
            Save(source, grid, {.directory = out_, .max_file_bytes = max_file_bytes}, of_ranks));
        std::vector<std::vector<FileOperation>> traces;
        for (const RecordingFiles& recorder : recorders) traces.push_back(recorder.trace());
        EXPECT_EQ(Complain(source, files, grid, traces), "");
        if (grid.world_size > 1) {  // A rank that writes for all, or for another, is found out.
          std::swap(traces.front(), traces.back());
          EXPECT_THAT(Complain(source, files, grid, traces), Not(IsEmpty()));
        }
        for (const auto& [name, contents] : expected) {
          EXPECT_EQ(*ReadFile(absl::StrCat(out_, "/", name)), contents) << name;
        }
        EXPECT_OK(HuggingFaceFiles::Open(out_).status());
        EXPECT_EQ(*ReadFile(out_ + "/config.json"), *ReadFile(source.directory + "/config.json"));
        std::filesystem::remove_all(out_);
      }
    }
  }
}

TEST_F(SaveTest, NothingIsGathered) {
  ASSERT_OK_AND_ASSIGN(const Source source, Source::Open(kLlama));
  const Grid grid = {.world_size = 2};
  ASSERT_OK(RunWithModel(
      source, grid, [&](infer::ShardedModel& model, comm::Communicator& ranks) -> absl::Status {
        fsdp::ShardedParameters& parameters = model.parameters();
        for (const int unit : {0, 1}) parameters.WholeUnit(unit, unit).fill_(7);
        RETURN_IF_ERROR(infer::SaveModel(model, ranks, source.plan, {.directory = out_}));
        for (const int unit : {0, 1}) {
          if (parameters.WholeUnit(unit, unit).eq(7).all().item<bool>()) continue;
          return absl::InternalError(absl::StrCat("unit ", unit, " was gathered"));
        }
        return absl::OkStatus();
      }));
}

// An old export: a tied head that is stored, masks of several dtypes.
TEST_F(SaveTest, TensorsThatAreNoParametersStayAndATiedHeadFollows) {
  const std::string directory = folder_ + "/old";
  ASSERT_OK(WriteWithBuffers(kGpt2, directory));
  ASSERT_OK_AND_ASSIGN(const Source source, Source::Open(directory));
  for (const Grid& grid : AllGrids()) {
    SCOPED_TRACE(Describe(grid));
    ASSERT_OK(
        RunWithModel(source, grid, [&](infer::ShardedModel& model, comm::Communicator& ranks) {
          const auto& root = source.description.units[0].parameters;
          for (size_t i = 0; i < root.size(); ++i) {
            if (root[i].name != "wte.weight") continue;
            for (float& value : fsdp::SliceOf(model.parameters(), 0, static_cast<int>(i)).values) {
              value *= 2;
            }
          }
          return infer::SaveModel(model, ranks, source.plan, {.directory = out_});
        }));
    ASSERT_OK_AND_ASSIGN(const auto saved, HuggingFaceFiles::Open(out_));
    EXPECT_EQ(saved->tensors().size(), source.files->tensors().size());
    for (const auto& [name, tensor] : source.files->tensors()) {
      SCOPED_TRACE(name);
      const auto found = saved->tensors().find(name);
      ASSERT_NE(found, saved->tensors().end());
      EXPECT_EQ(found->second.entry->dtype, tensor.entry->dtype);
      EXPECT_EQ(found->second.entry->shape, tensor.entry->shape);
      if (name != "transformer.wte.weight" && name != "lm_head.weight") {
        EXPECT_EQ(found->second.file->Bytes(*found->second.entry),
                  tensor.file->Bytes(*tensor.entry));
        continue;
      }
      std::vector<float> expected(tensor.entry->num_elements()), values(expected.size());
      ASSERT_OK(checkpoint::ReadAsFloats(tensor, 0, absl::MakeSpan(expected)));
      ASSERT_OK(checkpoint::ReadAsFloats(found->second, 0, absl::MakeSpan(values)));
      for (float& value : expected) value *= 2;
      EXPECT_EQ(values, expected);
    }
    std::filesystem::remove_all(out_);
  }
}

}  // namespace
}  // namespace sotto::inference
