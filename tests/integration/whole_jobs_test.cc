// Jobs of other kinds than the tiny one, from registration to their end.
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/layout/device_profile.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/testing/event_log.h"
#include "tests/integration/testing/service_fixture.h"
#include "tests/integration/testing/tiny_job.h"
#include "tests/integration/testing/tiny_model.h"
#include "tests/integration/testing/worker_trace.h"

namespace sotto::integration {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WholeJobsTest : public ServiceFixture {
 protected:
  void SetUp() override {
    ServiceFixture::SetUp();
    StartCoordinator();
  }

  static v1::JobSpec ShortJob() {
    TinyJobOptions options;
    options.steps = 6;
    options.checkpoint_every = 3;
    return TinyJob(options);
  }

  v1::Job RunToEnd(const v1::JobSpec& spec) {
    const absl::StatusOr<v1::Job> job = client().Submit(spec);
    EXPECT_OK(job);
    if (!job.ok()) return v1::Job();
    EventLog(address(), job->id()).Finish();
    const absl::StatusOr<v1::Job> ended = client().GetJob(job->id());
    EXPECT_OK(ended);
    return ended.ok() ? *ended : v1::Job();
  }
};

TEST_F(WholeJobsTest, AnEncoderLearnsFromLabels) {
  ASSERT_OK(WriteTinyDataset(dataset_path_, /*records=*/64, /*salt=*/0, /*classes=*/3));
  RegisterTinyDataset();
  ASSERT_OK_AND_ASSIGN(const v1::Dataset dataset, client().GetDataset("tiny"));
  EXPECT_EQ(dataset.classes(), 3);
  v1::JobSpec spec = ShortJob();
  v1::EncoderSpec& encoder = *spec.mutable_model()->mutable_encoder();
  encoder.set_vocabulary_size(257);
  encoder.set_width(16);
  encoder.set_layers(1);
  encoder.set_heads(2);
  encoder.set_max_length(16);
  encoder.set_classes(2);
  EXPECT_THAT(client().Submit(spec),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("model.encoder.classes must be at least the dataset's 3")));
  encoder.set_classes(3);
  const v1::Job ended = RunToEnd(spec);
  EXPECT_EQ(ended.reason(), v1::STEPS_DONE);
  EXPECT_EQ(ended.completed_steps(), 6);
  EXPECT_GT(ended.epsilon(), 0);
  ExpectSoundEnd(ended.id(), v1::SUCCEEDED);
}

// The first job of a state folder measures the device too, and its plan counts that.
TEST_F(WholeJobsTest, EveryRankSaysAtItsEndWhatMemoryWasPlannedAndMeasured) {
  RegisterTinyDataset();
  std::vector<int64_t> totals;
  for (const char* which : {"first", "second"}) {
    SCOPED_TRACE(which);
    const v1::Job ended = RunToEnd(ShortJob());
    ASSERT_EQ(ended.state(), v1::SUCCEEDED);
    const v1::MemoryPlan& plan = ended.plan().memory();
    ASSERT_OK_AND_ASSIGN(auto ranks, ReadMemorySummaries(state_dir_, ended.id()));
    ASSERT_EQ(ranks.size(), 2);
    for (auto& said : ranks) {
      EXPECT_EQ(said.size(), 14);
      EXPECT_EQ(said["planned_parameters"], plan.parameters_bytes());
      EXPECT_EQ(said["planned_communicator"], plan.communicator_bytes());
      EXPECT_EQ(said["planned_total"], plan.total_bytes());
      EXPECT_GT(said["planned_tensors"], 0);
      EXPECT_LE(said["tensor_peak"], said["planned_tensors"]);
      EXPECT_GE(said["tensor_peak"], said["planned_parameters"] + said["planned_gradients"] +
                                         said["planned_optimizer"] + said["planned_slots"]);
      EXPECT_GT(said["resident_peak"], said["tensor_peak"]);
    }
    EXPECT_LT(ranks[0]["planned_tensors"], layout::ProfilingBytes(1)) << "or nothing is shown";
    totals.push_back(plan.total_bytes() - ranks[0]["planned_tensors"]);
  }
  EXPECT_GE(totals[0] - totals[1], layout::ProfilingBytes(1) / 2) << "measured by the first alone";
}

TEST_F(WholeJobsTest, EveryRankSaysWhatItGaveBackAfterTheSameSteps) {
  RegisterTinyDataset();
  v1::JobSpec spec = ShortJob();
  spec.mutable_workers()->set_clear_caches_every_steps(2);
  const v1::Job ended = RunToEnd(spec);
  ASSERT_EQ(ended.state(), v1::SUCCEEDED);
  ASSERT_OK_AND_ASSIGN(const auto clearings, ReadClearings(state_dir_, ended.id()));
  EXPECT_THAT(clearings, ElementsAre(ElementsAre(0, 2, 4), ElementsAre(0, 2, 4)));
}

TEST_F(WholeJobsTest, AnEncoderWithoutLabelsIsRefused) {
  RegisterTinyDataset();
  v1::JobSpec spec = ShortJob();
  v1::EncoderSpec& encoder = *spec.mutable_model()->mutable_encoder();
  encoder.set_vocabulary_size(257);
  encoder.set_width(16);
  encoder.set_layers(1);
  encoder.set_heads(2);
  encoder.set_max_length(16);
  encoder.set_classes(2);
  EXPECT_THAT(client().Submit(spec),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("data.dataset must have labels for an encoder")));
}

TEST_F(WholeJobsTest, LowRankAdaptersOfAHuggingFaceModelAreTrained) {
  RegisterTinyDataset();
  const std::string directory = folder_ + "/model";
  ASSERT_OK(WriteTinyModel(directory));
  v1::JobSpec spec = ShortJob();
  spec.clear_model();
  spec.mutable_model()->set_hugging_face_directory(directory);
  spec.mutable_model()->mutable_adaptation()->mutable_lora()->set_rank(2);
  const v1::Job ended = RunToEnd(spec);
  EXPECT_EQ(ended.plan().spec().model().gpt2().width(), 16) << "from config.json";
  int64_t trained = 0;
  for (const v1::UnitPlan& unit : ended.plan().sharding().units()) {
    trained += unit.trained_elements();
  }
  // c_attn [16, 48] and c_proj [16, 16] of two blocks.
  EXPECT_EQ(trained, 2 * 2 * ((16 + 48) + (16 + 16)));
  ExpectSoundEnd(ended.id(), v1::SUCCEEDED);
}

TEST_F(WholeJobsTest, WeightsThatAreNotTheModelsEndTheJobAtOnce) {
  RegisterTinyDataset();
  const std::string directory = folder_ + "/model";
  ASSERT_OK(WriteTinyModel(directory, /*missing=*/"h.1.ln_2.weight"));
  v1::JobSpec spec = ShortJob();
  spec.clear_model();
  spec.mutable_model()->set_hugging_face_directory(directory);
  const v1::Job ended = RunToEnd(spec);
  EXPECT_EQ(ended.state(), v1::FAILED);
  EXPECT_EQ(ended.reason(), v1::PLAN_CANNOT_RUN);
  EXPECT_EQ(ended.attempt(), 1);
  EXPECT_THAT(ended.message(), HasSubstr("h.1.ln_2.weight"));
  ASSERT_OK_AND_ASSIGN(const auto memory, ReadMemorySummaries(state_dir_, ended.id()));
  EXPECT_FALSE(memory.empty()) << "a rank that fails says it too";
  ASSERT_OK_AND_ASSIGN(const v1::Dataset dataset, client().GetDataset("tiny"));
  EXPECT_EQ(dataset.spent_epsilon(), 0);
  EXPECT_EQ(dataset.reserved_epsilon(), 0) << "the reservation was released";
}

}  // namespace
}  // namespace sotto::integration
