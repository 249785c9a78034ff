// Submissions of jobs that do not train: what is planned, and which files and jobs are refused.
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/crypto/sha256.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "server/api/testing/api_fixture.h"

namespace sotto::api {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kPrompts[] = "{\"text\": \"ab\"}\n{\"tokens\": [1, 2, 3]}\n";

class InferenceSubmissionTest : public ApiFixture {
 protected:
  void SetUp() override {
    ApiFixture::SetUp();
    prompts_ = Write("prompts.jsonl", kPrompts);
    reader_.PutJob(TrainedJob());
  }

  std::string Write(const std::string& name, const std::string& content) {
    const std::string path = folder_ + "/" + name;
    EXPECT_OK(AtomicWriteFile(path, content));
    return path;
  }

  static v1::Job TrainedJob() {
    v1::Job job;
    job.set_id("job-7");
    job.set_checkpoint_path("/state/jobs/job-7/checkpoints/40");
    job.set_checkpoint_step(40);
    v1::Gpt2Spec& model = *job.mutable_plan()->mutable_spec()->mutable_model()->mutable_gpt2();
    model.set_vocabulary_size(257);
    model.set_width(16);
    model.set_layers(1);
    model.set_heads(2);
    model.set_max_length(32);
    return job;
  }

  v1::SubmitJobRequest MakeRequest() const {
    v1::SubmitJobRequest request;
    v1::InferenceSpec& inference = *request.mutable_spec()->mutable_inference();
    inference.set_checkpoint_of_job("job-7");
    inference.set_prompt_file(prompts_);
    inference.set_output(folder_ + "/out.jsonl");
    inference.mutable_generate()->set_max_new_tokens(4);
    return request;
  }

  grpc::Status Submit(const v1::SubmitJobRequest& request,
                      v1::SubmitJobResponse* response = nullptr) {
    grpc::ClientContext context;
    v1::SubmitJobResponse ignored;
    return jobs_->SubmitJob(&context, request, response != nullptr ? response : &ignored);
  }

  // The only broken rule: "field rule, but is value".
  std::string OnlyViolation(const v1::SubmitJobRequest& request) {
    const grpc::Status status = Submit(request);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
    const auto details = DetailOf<google::rpc::BadRequest>(status);
    EXPECT_THAT(details.field_violations(), SizeIs(1)) << status.error_message();
    if (details.field_violations_size() != 1) return "";
    return absl::StrCat(details.field_violations(0).field(), " ",
                        details.field_violations(0).description());
  }

  std::string prompts_;
};

TEST_F(InferenceSubmissionTest, ACheckpointIsReadWithoutADatasetOrACharge) {
  v1::SubmitJobResponse response;
  const grpc::Status status = Submit(MakeRequest(), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  const v1::JobPlan& plan = response.job().plan();
  EXPECT_EQ(plan.inference().checkpoint_path(), "/state/jobs/job-7/checkpoints/40");
  EXPECT_EQ(plan.inference().prompts(), 2);
  EXPECT_EQ(plan.inference().prompt_sha256(), crypto::HexSha256(kPrompts));
  EXPECT_EQ(plan.inference().longest_prompt(), 7);
  EXPECT_EQ(plan.spec().model().gpt2().width(), 16);
  EXPECT_THAT(plan.notes(), ElementsAre(HasSubstr("those of job-7 after 40 steps")));
  EXPECT_THAT(scheduler_.admitted(), SizeIs(1));
  EXPECT_EQ(datasets_.last_reservation().dataset, "");
}

TEST_F(InferenceSubmissionTest, ValidateOnlyShowsThePlanAndAdmitsNothing) {
  v1::SubmitJobRequest request = MakeRequest();
  request.set_validate_only(true);
  v1::SubmitJobResponse response;
  ASSERT_TRUE(Submit(request, &response).ok());
  EXPECT_EQ(response.job().name(), "generate");
  EXPECT_TRUE(response.job().plan().has_inference());
  EXPECT_THAT(scheduler_.admitted(), IsEmpty());
}

TEST_F(InferenceSubmissionTest, ARegisteredDatasetIsNoPromptFileWhateverItsName) {
  v1::Dataset dataset;
  dataset.set_name("notes");
  dataset.set_path("/elsewhere/notes");
  dataset.set_sha256(crypto::HexSha256(kPrompts));
  datasets_.Put(dataset);
  EXPECT_THAT(OnlyViolation(MakeRequest()),
              HasSubstr("inference.prompt_file must be public text of its own, never a registered "
                        "dataset, but is dataset \"notes\""));
}

TEST_F(InferenceSubmissionTest, NorIsTheFileThatADatasetWasRegisteredFrom) {
  std::filesystem::create_symlink(prompts_, folder_ + "/link");
  v1::Dataset dataset;
  dataset.set_name("notes");
  dataset.set_path(prompts_);
  dataset.set_sha256(std::string(64, 'a'));  // The file was changed since.
  datasets_.Put(dataset);
  v1::SubmitJobRequest request = MakeRequest();
  request.mutable_spec()->mutable_inference()->set_prompt_file(folder_ + "/link");
  EXPECT_THAT(OnlyViolation(request), HasSubstr("dataset \"notes\""));
}

TEST_F(InferenceSubmissionTest, NorIsAFileInAFolderOfOne) {
  v1::Dataset dataset;
  dataset.set_name("notes");
  dataset.set_path(folder_);
  dataset.set_sha256(std::string(64, 'a'));
  datasets_.Put(dataset);
  EXPECT_THAT(OnlyViolation(MakeRequest()), HasSubstr("dataset \"notes\""));
}

TEST_F(InferenceSubmissionTest, FilesThatCannotBeUsedAreNamed) {
  const auto with = [&](auto change) {
    v1::SubmitJobRequest request = MakeRequest();
    change(*request.mutable_spec()->mutable_inference());
    return OnlyViolation(request);
  };
  EXPECT_THAT(with([](auto& inference) { inference.set_prompt_file("prompts"); }),
              HasSubstr("inference.prompt_file must be an absolute path"));
  EXPECT_THAT(with([](auto& inference) { inference.set_prompt_file("/nowhere/p"); }),
              HasSubstr("inference.prompt_file must be a file on the coordinator's host"));
  EXPECT_THAT(with([&](auto& inference) { inference.set_prompt_file(folder_); }),
              HasSubstr("inference.prompt_file must be a file on the coordinator's host"));
  const std::string bad = Write("bad", "{\"text\": 3}\n");
  EXPECT_THAT(with([&](auto& inference) { inference.set_prompt_file(bad); }),
              HasSubstr("must hold prompts: line 1: field \"text\" must be a string"));
  EXPECT_THAT(with([](auto& inference) { inference.set_output("out"); }),
              HasSubstr("inference.output must be an absolute path"));
  EXPECT_THAT(with([&](auto& inference) { inference.set_output(prompts_); }),
              HasSubstr("inference.output must not exist"));
  EXPECT_THAT(with([](auto& inference) { inference.set_output("/nowhere/out"); }),
              HasSubstr("inference.output must lie in a folder that exists"));
  EXPECT_THAT(with([](auto& inference) {
                inference.clear_prompt_file();
                inference.mutable_edit()->set_projections("/nowhere/e");
              }),
              HasSubstr("inference.edit.projections must be a file on the coordinator's host"));
}

TEST_F(InferenceSubmissionTest, OutputsHaveOneName) {
  std::filesystem::create_directory(folder_ + "/real");
  std::filesystem::create_directory_symlink(folder_ + "/real", folder_ + "/linked");
  for (const char* output : {"/real/out", "/linked/out", "/real/../linked/./out", "/linked/out/"}) {
    v1::SubmitJobRequest request = MakeRequest();
    request.set_validate_only(true);
    request.mutable_spec()->mutable_inference()->set_output(folder_ + output);
    v1::SubmitJobResponse response;
    const grpc::Status status = Submit(request, &response);
    ASSERT_TRUE(status.ok()) << output << ": " << status.error_message();
    EXPECT_EQ(response.job().plan().spec().inference().output(),
              std::filesystem::canonical(folder_).string() + "/real/out");
  }
}

TEST_F(InferenceSubmissionTest, ARepeatedRequestMayFindItsOutput) {
  v1::SubmitJobRequest request = MakeRequest();
  Write("out.jsonl", "{}\n");
  EXPECT_THAT(OnlyViolation(request), HasSubstr("inference.output must not exist"));
  request.set_request_id("once");
  request.set_validate_only(true);
  EXPECT_THAT(OnlyViolation(request), HasSubstr("inference.output must not exist"));
  request.set_validate_only(false);
  Submit(request);
  ASSERT_THAT(scheduler_.admitted(), SizeIs(1));
  EXPECT_THAT(scheduler_.admitted()[0].unless_known,
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("must not exist")));
}

TEST_F(InferenceSubmissionTest, AJobWithoutACheckpointHasNoWeights) {
  v1::Job job = TrainedJob();
  job.set_id("job-8");
  job.clear_checkpoint_path();
  reader_.PutJob(job);
  for (const char* id : {"job-8", "job-9"}) {
    v1::SubmitJobRequest request = MakeRequest();
    request.mutable_spec()->mutable_inference()->set_checkpoint_of_job(id);
    EXPECT_THAT(OnlyViolation(request),
                HasSubstr("inference.checkpoint_of_job must be a job with a checkpoint"));
  }
}

TEST_F(InferenceSubmissionTest, TheModelIsTheJobs) {
  v1::SubmitJobRequest request = MakeRequest();
  *request.mutable_spec()->mutable_model()->mutable_gpt2() =
      TrainedJob().plan().spec().model().gpt2();
  EXPECT_THAT(OnlyViolation(request), HasSubstr("model must be left out: it is that of job-7"));
}

TEST_F(InferenceSubmissionTest, WeightsWithoutAPromiseAreForStewards) {
  v1::Job job = TrainedJob();
  job.mutable_plan()->mutable_privacy()->set_not_private(true);
  job.mutable_plan()->mutable_dataset()->set_name("notes");
  job.mutable_plan()->mutable_dataset()->set_budgeted(true);
  reader_.PutJob(job);
  v1::SubmitJobRequest request = MakeRequest();
  const grpc::Status status = Submit(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status).reason(), "STEWARD_REQUIRED");
  request.set_steward(true);
  EXPECT_TRUE(Submit(request).ok());
}

TEST_F(InferenceSubmissionTest, ADirectoryThatCannotBeReadIsNamed) {
  v1::SubmitJobRequest request = MakeRequest();
  request.mutable_spec()->mutable_inference()->clear_checkpoint_of_job();
  request.mutable_spec()->mutable_model()->set_hugging_face_directory("/nowhere/model");
  EXPECT_THAT(OnlyViolation(request), HasSubstr("model.hugging_face_directory"));
}

}  // namespace
}  // namespace sotto::api
