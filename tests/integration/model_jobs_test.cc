// CAPTURE and EDIT through the coordinator: of a Hugging Face directory and of a job's checkpoint,
// by any number of workers.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/checkpoint_reader.h"
#include "common/checkpoint/hugging_face_export.h"
#include "common/checkpoint/safetensors_reader.h"
#include "common/checkpoint/safetensors_writer.h"
#include "common/spec/hugging_face_config_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/testing/event_log.h"
#include "tests/integration/testing/inference_fixture.h"
#include "tests/integration/testing/tiny_job.h"

namespace sotto::integration {
namespace {

using checkpoint::SafetensorsEntry;
using checkpoint::SafetensorsReader;
using checkpoint::SafetensorsWriter;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kMatrix[] = "h.1.mlp.c_fc.weight";  // [16, 64] in the tiny models
constexpr int64_t kRows = 16;
constexpr int64_t kColumns = 64;
constexpr double kScale = -0.75;

struct Workers {
  int count;
  v1::Strategy strategy;
};
constexpr Workers kAllWorkers[] = {{1, v1::FULL_SHARD},
                                   {2, v1::FULL_SHARD},
                                   {4, v1::FULL_SHARD},
                                   {2, v1::NO_SHARD},
                                   {2, v1::SHARD_GRAD_OP}};

std::vector<float> Values(int64_t elements, int64_t first) {
  std::vector<float> values;
  for (int64_t i = 0; i < elements; ++i) values.push_back(0.3f / static_cast<float>(first + i));
  return values;
}

std::vector<float> Floats(const SafetensorsReader& file, const std::string& name) {
  const SafetensorsEntry* entry = file.Find(name);
  EXPECT_NE(entry, nullptr) << name;
  if (entry == nullptr) return {};
  std::vector<float> values(entry->num_elements());
  EXPECT_OK(file.ReadFloats(name, /*begin=*/0, absl::MakeSpan(values)));
  return values;
}

class ModelJobsTest : public InferenceFixture {
 protected:
  // The spec with other workers and an output of its own.
  v1::JobSpec With(v1::JobSpec spec, const Workers& workers) {
    spec.mutable_workers()->set_count(workers.count);
    spec.mutable_workers()->set_strategy(workers.strategy);
    spec.mutable_inference()->set_output(absl::StrCat(outputs_, "/", next_output_++));
    return spec;
  }

  // Of the tiny Hugging Face directory.
  v1::JobSpec CaptureSpec() {
    v1::JobSpec spec = MakeSpec(WritePrompts(9, false), "", 1);
    for (const int layer : {2, 0, 1})
      spec.mutable_inference()->mutable_capture()->add_layers(layer);
    return spec;
  }
  v1::JobSpec EditSpec() {
    v1::JobSpec spec = MakeSpec("", "", 1);
    spec.mutable_inference()->clear_prompt_file();
    spec.mutable_inference()->clear_batch_size();
    v1::EditSpec& edit = *spec.mutable_inference()->mutable_edit();
    edit.set_projections(folder_ + "/projections");
    edit.set_scale(kScale);
    SafetensorsWriter writer = *SafetensorsWriter::Create(
        edit.projections(),
        {{absl::StrCat(kMatrix, ".left"), {kRows}}, {absl::StrCat(kMatrix, ".right"), {kColumns}}},
        {});
    EXPECT_OK(writer.Append(Values(kRows, 3)));
    EXPECT_OK(writer.Append(Values(kColumns, 5)));
    EXPECT_OK(writer.Finish().status());
    return spec;
  }

  // Trains a tiny job; it must succeed.
  v1::Job Train(bool with_adapters) {
    RegisterTinyDataset();
    v1::JobSpec spec = TinyJob({.steps = 3, .workers = 2});
    if (with_adapters) spec.mutable_model()->mutable_adaptation()->mutable_lora()->set_rank(2);
    return Run(spec);
  }
  static v1::JobSpec OfJob(v1::JobSpec spec, const v1::Job& job) {
    spec.clear_model();
    spec.mutable_inference()->set_checkpoint_of_job(job.id());
    return spec;
  }
  // What `sotto export` writes of the job.
  std::string Exported(const v1::Job& job) {
    std::string directory = folder_ + "/exported";
    const auto checkpoint = *checkpoint::Checkpoint::Open(job.checkpoint_path());
    const auto config = *spec::FormatHuggingFaceConfig(checkpoint->manifest().model(), "F32");
    EXPECT_OK(checkpoint::ExportHuggingFace(
                  *checkpoint,
                  {.directory = directory, .config = config.json, .model_type = config.model_type})
                  .status());
    return directory;
  }

  // The edit of `spec` by all workers: `before` but for kMatrix, the same files whoever made them.
  void ExpectEdit(const v1::JobSpec& spec, const std::string& before) {
    const auto original = *SafetensorsReader::Open(before + "/model.safetensors");
    std::string first;
    for (const Workers& workers : kAllWorkers) {
      SCOPED_TRACE(absl::StrCat(workers.count, v1::Strategy_Name(workers.strategy)));
      const v1::JobSpec job = With(spec, workers);
      EXPECT_EQ(Run(job).reason(), v1::INFERENCE_DONE);
      const std::string& output = job.inference().output();
      ASSERT_OK_AND_ASSIGN(const std::string bytes, ReadFile(output + "/model.safetensors"));
      if (first.empty()) first = bytes;
      EXPECT_TRUE(bytes == first) << "bit for bit";
      EXPECT_EQ(*ReadFile(output + "/config.json"), *ReadFile(before + "/config.json"));
    }
    const auto edited = *SafetensorsReader::Open(absl::StrCat(outputs_, "/0/model.safetensors"));
    EXPECT_EQ(edited->header().entries.size(), original->header().entries.size());
    const std::vector<float> left = Values(kRows, 3);
    const std::vector<float> right = Values(kColumns, 5);
    for (const SafetensorsEntry& entry : original->header().entries) {
      std::vector<float> expected = Floats(*original, entry.name);
      for (size_t i = 0; entry.name == absl::StrCat("transformer.", kMatrix) && i < expected.size();
           ++i) {
        const double change = kScale * left[i / kColumns] * right[i % kColumns];
        expected[i] = static_cast<float>(expected[i] + change);
      }
      EXPECT_TRUE(Floats(*edited, entry.name) == expected) << entry.name;
    }
  }

  int next_output_ = 0;
};

TEST_F(ModelJobsTest, WorkersMakeNoDifferenceToWhatIsCaptured) {
  const v1::JobSpec spec = CaptureSpec();
  const std::string captured = OutputOf(With(spec, kAllWorkers[0]));
  const auto file = *SafetensorsReader::Open(outputs_ + "/0");
  EXPECT_THAT(file->header().entries, SizeIs(9 * 3));
  EXPECT_EQ(file->Find("prompt.8.layer.2")->shape, (std::vector<int64_t>{2, 16}));
  for (const Workers& workers : kAllWorkers) {
    EXPECT_TRUE(OutputOf(With(spec, workers)) == captured) << workers.count << workers.strategy;
  }
}

TEST_F(ModelJobsTest, ATrainedJobIsCapturedAsItsExportIs) {
  const v1::Job trained = Train(/*with_adapters=*/false);
  const v1::JobSpec of_job = OfJob(CaptureSpec(), trained);
  v1::JobSpec of_directory = CaptureSpec();
  of_directory.mutable_model()->set_hugging_face_directory(Exported(trained));
  const std::string captured = OutputOf(With(of_directory, kAllWorkers[0]));
  EXPECT_FALSE(captured == OutputOf(With(CaptureSpec(), kAllWorkers[0]))) << "another model";
  for (const Workers& workers : kAllWorkers) {
    EXPECT_TRUE(OutputOf(With(of_job, workers)) == captured) << workers.count << workers.strategy;
  }
}

TEST_F(ModelJobsTest, WorkersMakeNoDifferenceToAnEdit) {
  ExpectEdit(EditSpec(), folder_ + "/model");
}

TEST_F(ModelJobsTest, ATrainedJobIsEditedAsItsExportWouldBe) {
  const v1::Job trained = Train(/*with_adapters=*/false);
  ExpectEdit(OfJob(EditSpec(), trained), Exported(trained));
}

TEST_F(ModelJobsTest, AdaptersAreMergedBeforeAnEdit) {
  const v1::Job trained = Train(/*with_adapters=*/true);
  v1::JobSpec spec = With(OfJob(EditSpec(), trained), kAllWorkers[1]);
  const std::string job = Submit(spec);
  EventLog(address(), job).Finish();
  EXPECT_EQ(Ended(job).state(), v1::FAILED);
  EXPECT_EQ(Ended(job).reason(), v1::PLAN_CANNOT_RUN);
  EXPECT_THAT(Ended(job).message(), HasSubstr("`sotto export` merges them"));
  EXPECT_THAT(FilesInOutputs(), SizeIs(0));
  spec = With(EditSpec(), kAllWorkers[1]);
  spec.mutable_model()->set_hugging_face_directory(Exported(trained));
  EXPECT_EQ(Run(spec).reason(), v1::INFERENCE_DONE);
}

// Wherever the kill falls: an edit has ended, or it is made again.
TEST_F(ModelJobsTest, AKilledEditIsMadeAgain) {
  const v1::JobSpec undisturbed = With(EditSpec(), kAllWorkers[0]);
  Run(undisturbed);
  const v1::JobSpec spec = With(EditSpec(), kAllWorkers[1]);
  const std::string job = Submit(spec);
  EventLog log(address(), job);
  ASSERT_TRUE(log.Await([](const v1::JobEvent& event) {
    return event.has_state() && event.state().state() == v1::RUNNING;
  }));
  KillAllWorkers(job, 2);
  log.Finish();
  EXPECT_EQ(Ended(job).reason(), v1::INFERENCE_DONE) << Ended(job).message();
  EXPECT_THAT(FilesInOutputs(), ElementsAre("0", "1"));
  EXPECT_EQ(*ReadFile(spec.inference().output() + "/model.safetensors"),
            *ReadFile(undisturbed.inference().output() + "/model.safetensors"));
}

}  // namespace
}  // namespace sotto::integration
