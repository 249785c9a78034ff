#include "absl/strings/str_cat.h"
#include "common/dataset/token_file_writer.h"
#include "common/spec/device_profile_message.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "server/api/testing/api_fixture.h"
#include "server/ledger/budget_refusal.h"

namespace sotto::api {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class JobServiceTest : public ApiFixture {
 protected:
  void SetUp() override {
    ApiFixture::SetUp();
    v1::Dataset dataset;
    dataset.set_name("fortunes");
    dataset.set_path("/data/fortunes.tokens");
    dataset.set_sha256(std::string(64, 'a'));
    dataset.set_max_records(20000);
    dataset.set_vocabulary_size(257);
    dataset.set_max_length(64);
    dataset.set_budgeted(true);
    dataset.mutable_budget()->set_epsilon(8);
    dataset.mutable_budget()->set_delta(1e-6);
    dataset.mutable_budget()->set_adjacency("add_or_remove_one");
    dataset.mutable_budget()->set_privacy_unit("record");
    datasets_.Put(dataset);
  }

  static v1::SubmitJobRequest MakeRequest() {
    v1::SubmitJobRequest request;
    v1::JobSpec& spec = *request.mutable_spec();
    spec.set_name("first");
    v1::Gpt2Spec& model = *spec.mutable_model()->mutable_gpt2();
    model.set_vocabulary_size(257);
    model.set_width(32);
    model.set_layers(2);
    model.set_heads(2);
    model.set_max_length(64);
    spec.mutable_data()->set_dataset("fortunes");
    spec.mutable_privacy()->set_epsilon(3);
    spec.mutable_train()->set_expected_batch_size(64);
    spec.mutable_train()->set_steps(100);
    spec.mutable_train()->mutable_learning_rate()->set_peak(1e-3);
    spec.mutable_workers()->set_count(2);
    return request;
  }
  grpc::Status Submit(const v1::SubmitJobRequest& request, v1::SubmitJobResponse* response) {
    grpc::ClientContext context;
    return jobs_->SubmitJob(&context, request, response);
  }
  grpc::Status Submit(const v1::SubmitJobRequest& request) {
    v1::SubmitJobResponse ignored;
    return Submit(request, &ignored);
  }
};

TEST_F(JobServiceTest, PlansRestOnWhatWorkersMeasured) {
  v1::SubmitJobRequest request = MakeRequest();
  request.set_validate_only(true);
  v1::SubmitJobResponse response;
  ASSERT_TRUE(Submit(request, &response).ok());
  EXPECT_THAT(response.job().plan().notes(), Contains(HasSubstr("No worker has measured")));
  v1::DeviceProfile profile = spec::ProfileMessage(layout::TypicalDeviceProfile());
  profile.set_threads(2);  // 4 cores for 2 workers
  profile.set_product_flops(12345e6);
  reader_.PutDeviceProfile(profile);
  ASSERT_TRUE(Submit(request, &response).ok());
  EXPECT_EQ(response.job().plan().device_profile().product_flops(), 12345e6);
  EXPECT_THAT(response.job().plan().notes(), Each(Not(HasSubstr("No worker has measured"))));
}

TEST_F(JobServiceTest, AnUnknownDatasetHidesNoOtherViolation) {
  v1::SubmitJobRequest request = MakeRequest();
  request.mutable_spec()->mutable_data()->set_dataset("nowhere");
  EXPECT_EQ(Submit(request).error_code(), grpc::StatusCode::NOT_FOUND);
  request.mutable_spec()->mutable_privacy()->set_clip_norm(-1);
  const grpc::Status status = Submit(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  std::vector<std::string> fields;
  const auto details = DetailOf<google::rpc::BadRequest>(status);
  for (const auto& violation : details.field_violations()) fields.push_back(violation.field());
  EXPECT_THAT(fields, UnorderedElementsAre("data.dataset", "privacy.clip_norm"));
}

TEST_F(JobServiceTest, SubmitPlansAndAdmits) {
  v1::SubmitJobRequest request = MakeRequest();
  request.set_request_id("run-7");
  v1::SubmitJobResponse response;
  const grpc::Status status = Submit(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.job().id(), "job-1");
  EXPECT_EQ(response.job().plan().privacy().planned_steps(), 100);
  ASSERT_EQ(scheduler_.admitted().size(), 1);
  EXPECT_EQ(scheduler_.admitted()[0].request_id, "run-7");
  EXPECT_EQ(scheduler_.admitted()[0].plan.dataset().sha256(), std::string(64, 'a'));
  EXPECT_EQ(response.job().plan().dataset().sha256(), "") << "readers get no hash of the records";
}

TEST_F(JobServiceTest, ValidateOnlyPlansAndStoresNothing) {
  v1::SubmitJobRequest request = MakeRequest();
  request.set_validate_only(true);
  v1::SubmitJobResponse response;
  const grpc::Status status = Submit(request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.job().id(), "");
  EXPECT_GT(response.job().plan().privacy().noise_multiplier(), 0);
  EXPECT_THAT(response.schedule(), Not(IsEmpty()));
  EXPECT_THAT(scheduler_.admitted(), IsEmpty());
  EXPECT_EQ(datasets_.last_reservation().dataset, "fortunes");
  EXPECT_GE(ledger::SumOf(datasets_.last_reservation().charge.reserved), 100);
  EXPECT_FALSE(datasets_.last_reservation().charge.charges[0].units.empty());
}

TEST_F(JobServiceTest, ValidateOnlyFailsWhereTheRealSubmissionWould) {
  ledger::BudgetRefusal refusal;
  refusal.dataset = "fortunes";
  refusal.budget_epsilon = 8;
  refusal.largest_steps = 12;
  datasets_.RefuseWith(ledger::BudgetRefusedError(refusal));
  v1::SubmitJobRequest request = MakeRequest();
  request.set_validate_only(true);
  const grpc::Status status = Submit(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).metadata().at("largest_steps"), "12");
}

TEST_F(JobServiceTest, EveryBrokenRuleIsADetail) {
  v1::SubmitJobRequest request = MakeRequest();
  v1::JobSpec& spec = *request.mutable_spec();
  spec.mutable_model()->mutable_gpt2()->set_layers(0);
  spec.mutable_train()->set_steps(-5);
  spec.mutable_privacy()->set_clip_norm(-1);
  spec.mutable_workers()->set_count(99);
  const grpc::Status status = Submit(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const auto details = DetailOf<google::rpc::BadRequest>(status);
  std::vector<std::string> fields;
  for (const auto& violation : details.field_violations()) fields.push_back(violation.field());
  EXPECT_THAT(fields, ::testing::IsSupersetOf({"model.gpt2.layers", "train.steps",
                                               "privacy.clip_norm", "workers.count"}));
  EXPECT_THAT(scheduler_.admitted(), IsEmpty());
}

TEST_F(JobServiceTest, MoreWorkersThanSlotsNamesBothNumbers) {
  v1::SubmitJobRequest request = MakeRequest();
  request.mutable_spec()->mutable_workers()->set_count(5);
  const grpc::Status status = Submit(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("workers.count"));
  EXPECT_THAT(status.error_message(), HasSubstr("4"));
  EXPECT_THAT(status.error_message(), HasSubstr("5"));
}

TEST_F(JobServiceTest, RequestsWithoutSpecOrWithALongIdAreRefused) {
  EXPECT_EQ(Submit({}).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  v1::SubmitJobRequest request = MakeRequest();
  request.set_request_id(std::string(65, 'x'));
  EXPECT_EQ(Submit(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(JobServiceTest, UnknownDatasetsAreNotFound) {
  v1::SubmitJobRequest request = MakeRequest();
  request.mutable_spec()->mutable_data()->set_dataset("nothing");
  EXPECT_EQ(Submit(request).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(JobServiceTest, ANotPrivateJobOnBudgetedDataNeedsASteward) {
  v1::SubmitJobRequest request = MakeRequest();
  request.mutable_spec()->mutable_privacy()->Clear();
  request.mutable_spec()->mutable_privacy()->set_not_private(true);
  const grpc::Status refused = Submit(request);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(refused).reason(), "STEWARD_REQUIRED");
  request.set_steward(true);
  const grpc::Status status = Submit(request);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(scheduler_.admitted().at(0).steward);
}

TEST_F(JobServiceTest, CallersOverTcpMayOnlyRead) {
  v1::SubmitJobResponse submitted;
  grpc::ClientContext submit;
  const grpc::Status status = remote_jobs_->SubmitJob(&submit, MakeRequest(), &submitted);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).reason(), "READERS_ONLY");
  grpc::ClientContext cancel;
  v1::CancelJobRequest request;
  request.set_id("job-1");
  v1::Job job;
  EXPECT_EQ(remote_jobs_->CancelJob(&cancel, request, &job).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(scheduler_.admitted(), IsEmpty());
}

TEST_F(JobServiceTest, CancelAnswersTheJob) {
  grpc::ClientContext context;
  v1::CancelJobRequest request;
  request.set_id("job-9");
  v1::Job job;
  ASSERT_TRUE(jobs_->CancelJob(&context, request, &job).ok());
  EXPECT_EQ(job.id(), "job-9");
  EXPECT_EQ(job.state(), v1::CANCELLING);
}

TEST_F(JobServiceTest, GetJobAnswersWithoutHashesOfRecords) {
  v1::Job job;
  job.set_id("job-1");
  job.mutable_plan()->mutable_dataset()->set_sha256("abc");
  reader_.PutJob(job);
  grpc::ClientContext context;
  v1::GetJobRequest request;
  request.set_id("job-1");
  v1::Job answer;
  ASSERT_TRUE(remote_jobs_->GetJob(&context, request, &answer).ok());
  EXPECT_EQ(answer.id(), "job-1");
  EXPECT_EQ(answer.plan().dataset().sha256(), "");
  grpc::ClientContext other;
  request.set_id("job-2");
  EXPECT_EQ(jobs_->GetJob(&other, request, &answer).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(JobServiceTest, ListsAreReadPageByPage) {
  for (int number = 1; number <= 5; ++number) {
    v1::Job job;
    job.set_id(absl::StrCat("job-", number));
    reader_.PutJob(job);
  }
  std::vector<std::string> ids;
  v1::ListJobsRequest request;
  request.set_page_size(2);
  request.add_states(v1::RUNNING);
  do {
    grpc::ClientContext context;
    v1::ListJobsResponse response;
    ASSERT_TRUE(jobs_->ListJobs(&context, request, &response).ok());
    EXPECT_LE(response.jobs_size(), 2);
    for (const v1::Job& job : response.jobs()) ids.push_back(job.id());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(ids, ElementsAre("job-5", "job-4", "job-3", "job-2", "job-1"));
  EXPECT_THAT(reader_.last_query().states, ElementsAre(v1::RUNNING));
}

TEST_F(JobServiceTest, AListWithABadSizeOrAnotherFiltersTokenIsRefused) {
  v1::ListJobsRequest negative;
  negative.set_page_size(-1);
  v1::ListJobsRequest foreign;
  foreign.set_page_token("jobs-3.7");
  for (const v1::ListJobsRequest& request : {negative, foreign}) {
    grpc::ClientContext context;
    v1::ListJobsResponse response;
    EXPECT_EQ(jobs_->ListJobs(&context, request, &response).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(JobServiceTest, TheEvaluationFileMustBePublicAndWhole) {
  const std::string path = folder_ + "/held_out.tokens";
  auto writer = dataset::TokenFileWriter::Create(path, {.max_length = 64});
  ASSERT_OK(writer);
  const std::vector<int32_t> tokens = {1, 2, 3};
  ASSERT_OK(writer->Add(tokens, {}));
  ASSERT_OK_AND_ASSIGN(const std::string sha256, writer->Finish());

  v1::SubmitJobRequest request = MakeRequest();
  std::string& file = *request.mutable_spec()->mutable_data()->mutable_public_evaluation_file();
  file = path;
  const grpc::Status status = Submit(request);
  EXPECT_TRUE(status.ok()) << status.error_message();
  file = folder_ + "/missing.tokens";
  EXPECT_THAT(Submit(request).error_message(), HasSubstr("data.public_evaluation_file"));

  v1::Dataset registered;
  registered.set_name("private");
  registered.set_sha256(sha256);
  registered.set_budgeted(true);
  datasets_.Put(registered);
  file = path;
  EXPECT_THAT(Submit(request).error_message(),
              HasSubstr("registered with a budget, as dataset \"private\""));
}

TEST_F(JobServiceTest, RegisteredDataWithoutABudgetMayBeTheEvaluationFile) {
  const std::string path = folder_ + "/public.tokens";
  auto writer = dataset::TokenFileWriter::Create(path, {.max_length = 64});
  ASSERT_OK(writer);
  const std::vector<int32_t> tokens = {4, 5};
  ASSERT_OK(writer->Add(tokens, {}));
  v1::Dataset registered;
  registered.set_name("open");
  ASSERT_OK_AND_ASSIGN(*registered.mutable_sha256(), writer->Finish());
  datasets_.Put(registered);
  v1::SubmitJobRequest request = MakeRequest();
  request.mutable_spec()->mutable_data()->set_public_evaluation_file(path);
  const grpc::Status status = Submit(request);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

}  // namespace
}  // namespace sotto::api
