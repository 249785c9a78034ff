#include "server/api/field_classes.h"

#include <set>

#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "proto/sotto/v1/job_service.pb.h"
#include "proto/sotto/v1/ledger_service.pb.h"

namespace sotto::api {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using ::testing::IsEmpty;

// Every field of `message` and of what it holds.
void CollectFields(const Descriptor& message, std::set<std::string>& fields) {
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    if (!fields.insert(field.full_name()).second) continue;
    if (field.message_type() != nullptr && field.message_type()->file()->package() == "sotto.v1") {
      CollectFields(*field.message_type(), fields);
    }
  }
}

// What the services that clients call may answer.
std::set<std::string> FieldsOfEveryReply() {
  std::set<std::string> fields;
  for (const google::protobuf::FileDescriptor* file :
       {v1::SubmitJobRequest::descriptor()->file(), v1::Dataset::descriptor()->file()}) {
    for (int i = 0; i < file->service_count(); ++i) {
      for (int j = 0; j < file->service(i)->method_count(); ++j) {
        CollectFields(*file->service(i)->method(j)->output_type(), fields);
      }
    }
  }
  return fields;
}

TEST(FieldClassesTest, EveryFieldOfEveryReplyIsClassified) {
  std::vector<std::string> unclassified;
  const std::set<std::string> fields = FieldsOfEveryReply();
  ASSERT_GT(fields.size(), 150);
  for (const std::string& field : fields) {
    if (!ClassOf(field).has_value()) unclassified.push_back(field);
  }
  EXPECT_THAT(unclassified, IsEmpty()) << "decide their class in field_table.h";
}

TEST(FieldClassesTest, TheTableHoldsNothingThatDoesNotExist) {
  const std::set<std::string> fields = FieldsOfEveryReply();
  std::vector<std::string> stale;
  for (const std::string& field : ClassifiedFields()) {
    if (fields.count(field) == 0) stale.push_back(field);
  }
  EXPECT_THAT(stale, IsEmpty());
}

TEST(FieldClassesTest, EveryRawValueIsForStewardsOnly) {
  const Descriptor& raw = *v1::RawStepReport::descriptor();
  ASSERT_GT(raw.field_count(), 0);
  for (int i = 0; i < raw.field_count(); ++i) {
    EXPECT_EQ(ClassOf(raw.field(i)->full_name()), FieldClass::kSteward) << raw.field(i)->name();
  }
  EXPECT_EQ(ClassOf("sotto.v1.StepReport.raw"), FieldClass::kSteward);
}

v1::WatchJobResponse MakeReport() {
  v1::WatchJobResponse response;
  v1::StepReport& step = *response.add_events()->mutable_step();
  step.set_step(7);
  step.set_noised_mean_loss(3.5);
  step.mutable_raw()->set_mean_loss(3.25);
  return response;
}

TEST(FieldClassesTest, ReadersGetNoRawValueHoweverDeeplyNested) {
  v1::WatchJobResponse response = MakeReport();
  KeepOnlyVisible(Audience::kReaders, response);
  EXPECT_FALSE(response.events(0).step().has_raw());
  EXPECT_EQ(response.events(0).step().step(), 7);
  EXPECT_EQ(response.events(0).step().noised_mean_loss(), 3.5);
}

TEST(FieldClassesTest, StewardsGetRawValues) {
  v1::WatchJobResponse response = MakeReport();
  KeepOnlyVisible(Audience::kSteward, response);
  EXPECT_EQ(response.events(0).step().raw().mean_loss(), 3.25);
}

TEST(FieldClassesTest, ReadersGetNoHashOfTheRecords) {
  v1::Job job;
  job.mutable_plan()->mutable_dataset()->set_sha256("abc");
  job.mutable_plan()->mutable_dataset()->set_name("fortunes");
  KeepOnlyVisible(Audience::kReaders, job);
  EXPECT_EQ(job.plan().dataset().sha256(), "");
  EXPECT_EQ(job.plan().dataset().name(), "fortunes");
}

TEST(FieldClassesTest, FieldsThatThisBuildDoesNotKnowAreRemoved) {
  v1::WatchJobResponse response = MakeReport();
  v1::StepReport& step = *response.mutable_events(0)->mutable_step();
  step.GetReflection()->MutableUnknownFields(&step)->AddVarint(99, 1);
  KeepOnlyVisible(Audience::kSteward, response);
  EXPECT_TRUE(step.GetReflection()->GetUnknownFields(step).empty());
}

TEST(FieldClassesTest, AMessageWithoutRowsLosesEverything) {
  v1::RegisterDatasetRequest unclassified;
  unclassified.set_name("x");
  KeepOnlyVisible(Audience::kSteward, unclassified);
  EXPECT_EQ(unclassified.name(), "");
}

}  // namespace
}  // namespace sotto::api
