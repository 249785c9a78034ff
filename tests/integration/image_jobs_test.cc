// Private jobs on images, from registration to their end.
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/dataset/value_file_writer.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/testing/event_log.h"
#include "tests/integration/testing/service_fixture.h"
#include "tests/integration/testing/tiny_job.h"

namespace sotto::integration {
namespace {

using ::testing::ElementsAre;

constexpr int32_t kClasses = 3;
constexpr double kAccuracyMultiplier = 12;

class ImageJobsTest : public ServiceFixture {
 protected:
  void SetUp() override {
    ServiceFixture::SetUp();
    StartCoordinator();
    ASSERT_OK_AND_ASSIGN(
        dataset::ValueFileWriter writer,
        dataset::ValueFileWriter::Create(
            dataset_path_,
            {.value_type = dataset::ValueType::kUint8, .shape = {1, 4, 4}, .classes = kClasses}));
    for (int32_t i = 0; i < 64; ++i) {
      std::vector<uint8_t> values(16, static_cast<uint8_t>(i));
      values[i % kClasses] = 255;
      ASSERT_OK(writer.Add(values, i % kClasses, {}));
    }
    ASSERT_OK(writer.Finish().status());
    RegisterTinyDataset();
  }

  static v1::JobSpec ShortJob() {
    TinyJobOptions options;
    options.steps = 6;
    options.checkpoint_every = 3;
    v1::JobSpec spec = TinyJob(options);
    spec.clear_model();
    return spec;
  }

  // The reports of a job that ends well.
  std::vector<v1::StepReport> Reports(const v1::JobSpec& spec) {
    std::vector<v1::StepReport> reports;
    const absl::StatusOr<v1::Job> job = client().Submit(spec);
    EXPECT_OK(job);
    if (!job.ok()) return reports;
    for (const v1::JobEvent& event : EventLog(address(), job->id()).Finish()) {
      if (event.has_step()) reports.push_back(event.step());
    }
    ExpectSoundEnd(job->id(), v1::SUCCEEDED);
    return reports;
  }
};

TEST_F(ImageJobsTest, AClassifierStreamsItsAccuracyWithNoise) {
  ASSERT_OK_AND_ASSIGN(const v1::Dataset dataset, client().GetDataset("tiny"));
  EXPECT_EQ(dataset.classes(), kClasses);
  EXPECT_THAT(dataset.image_shape(), ElementsAre(1, 4, 4));
  v1::JobSpec spec = ShortJob();
  v1::CnnSpec& cnn = *spec.mutable_model()->mutable_cnn();
  cnn.set_channels(1);
  cnn.set_height(4);
  cnn.set_width(4);
  cnn.add_stage_channels(8);
  cnn.set_outputs(kClasses);
  spec.mutable_privacy()->mutable_metrics()->set_accuracy_multiplier(kAccuracyMultiplier);
  const std::vector<v1::StepReport> reports = Reports(spec);
  ASSERT_EQ(reports.size(), 6);
  for (const v1::StepReport& report : reports) {
    EXPECT_TRUE(report.has_noised_accuracy());
    EXPECT_DOUBLE_EQ(report.accuracy_standard_error(),
                     kAccuracyMultiplier / spec.train().expected_batch_size());
    EXPECT_FALSE(report.has_raw());
  }
}

TEST_F(ImageJobsTest, ADiffusionTrainsAndStreamsNoAccuracy) {
  v1::JobSpec spec = ShortJob();
  v1::DitSpec& dit = *spec.mutable_model()->mutable_dit();
  dit.set_channels(1);
  dit.set_image_size(4);
  dit.set_patch_size(2);
  dit.set_width(8);
  dit.set_layers(1);
  dit.set_heads(2);
  dit.set_classes(kClasses);
  const std::vector<v1::StepReport> reports = Reports(spec);
  ASSERT_EQ(reports.size(), 6);
  for (const v1::StepReport& report : reports) EXPECT_FALSE(report.has_noised_accuracy());
}

}  // namespace
}  // namespace sotto::integration
