// The coordinator's process against a host and workers that misbehave: clear errors, exit codes
// that are not 0, nothing lost.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/fd.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/sotto/v1/worker_service.grpc.pb.h"
#include "tests/integration/testing/child_process.h"
#include "tests/integration/testing/coordinator_process.h"
#include "tests/integration/testing/event_log.h"
#include "tests/integration/testing/service_fixture.h"
#include "tests/integration/testing/tiny_job.h"

namespace sotto::integration {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Whether this user may make mounts, in a namespace of its own.
bool MayMount() {
  return geteuid() == 0 && std::system("unshare -m mount -t tmpfs tmpfs /tmp >/dev/null 2>&1") == 0;
}

class ServiceProcessTest : public ServiceFixture {
 protected:
  // A start that must fail; gives "exit STATUS: what it said".
  std::string FailedStart(const std::string& state_dir, const std::vector<std::string>& flags = {},
                          const std::string& mount = "", int slots = 4) {
    CoordinatorProcess::Options options;
    options.state_dir = state_dir;
    options.slots = slots;
    options.extra_flags = flags;
    options.mount = mount;
    const absl::StatusOr<CoordinatorProcess> started = CoordinatorProcess::Start(options);
    EXPECT_FALSE(started.ok()) << "it serves";
    return std::string(started.status().message());
  }
};

TEST_F(ServiceProcessTest, LockedStateDirectoryNamesTheCoordinatorThatHoldsIt) {
  StartCoordinator();
  EXPECT_THAT(FailedStart(state_dir_),
              AllOf(HasSubstr("exit 1"), HasSubstr(state_dir_), HasSubstr(address())));
  RegisterTinyDataset();  // The first one is not disturbed.
}

TEST_F(ServiceProcessTest, TakenPortIsNamed) {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(name);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&name), size), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&name), &size), 0);
  const std::string taken = absl::StrCat("127.0.0.1:", ntohs(name.sin_port));
  EXPECT_THAT(FailedStart(state_dir_, {"--listen=" + taken}),
              AllOf(HasSubstr("exit 1"), HasSubstr(taken), HasSubstr("taken")));
}

TEST_F(ServiceProcessTest, TakenSocketIsNamedAndItsOwnerIsNotDisturbed) {
  const std::string listen = "unix:" + folder_ + "/socket";
  StartCoordinator({"--listen=" + listen});
  EXPECT_THAT(FailedStart(folder_ + "/other", {"--listen=" + listen}),
              AllOf(HasSubstr("exit 1"), HasSubstr(folder_ + "/socket")));
  RegisterTinyDataset();
  // The folder is the test's own; TearDown wants to see it gone.
  client_ = nullptr;
  coordinator_->Terminate();
  coordinator_.reset();
}

TEST_F(ServiceProcessTest, UnusableFlagsAreUsageErrors) {
  EXPECT_THAT(FailedStart(state_dir_, {"--on_exit=explode"}), HasSubstr("exit 2"));
  EXPECT_THAT(FailedStart(state_dir_, /*flags=*/{}, /*mount=*/"", /*slots=*/-1),
              AllOf(HasSubstr("exit 2"), HasSubstr("--slots: must be in [1, 65536], but is -1")));
  EXPECT_THAT(FailedStart(state_dir_, {"--reattach_seconds=nan"}),
              AllOf(HasSubstr("exit 2"),
                    HasSubstr("--reattach_seconds: must be in [0, 1e+06], but is nan")));
  EXPECT_THAT(FailedStart(state_dir_, {"--no_such_flag"}), HasSubstr("exit 2"));
  EXPECT_THAT(FailedStart(state_dir_, {"--listen=nonsense"}),
              AllOf(HasSubstr("exit 1"), HasSubstr("nonsense")));
}

TEST_F(ServiceProcessTest, WorkersRefuseNumbersThatNoCoordinatorGives) {
  const std::string output = folder_ + "/worker.log";
  ASSERT_OK_AND_ASSIGN(
      ChildProcess worker,
      ChildProcess::Start({.arguments = {WorkerBinary(), "--coordinator=unix:/nowhere",
                                         "--job=job-1", "--attempt=1", "--rank=nan",
                                         "--world_size=1", "--token_fd=0", "--run_directory=/"},
                           .output_file = output}));
  const std::optional<ProcessEnd> end = worker.Wait(absl::Seconds(30));
  ASSERT_TRUE(end.has_value());
  EXPECT_NE(end->status, 0);
  ASSERT_OK_AND_ASSIGN(const std::string said, ReadFile(output));
  EXPECT_THAT(said, HasSubstr("--rank: must be in [0, 1e+09], but is nan"));
}

TEST_F(ServiceProcessTest, ReadOnlyStateDirectoryIsRefused) {
  if (!MayMount()) GTEST_SKIP() << "needs root and mounts";
  std::filesystem::create_directory(state_dir_);
  const std::string mount = absl::StrCat("mount --bind ", state_dir_, " ", state_dir_,
                                         " && mount -o remount,ro,bind ", state_dir_);
  EXPECT_THAT(FailedStart(state_dir_, {}, mount),
              AllOf(HasSubstr("exit 1"), HasSubstr(state_dir_), HasSubstr("read-only")));
}

TEST_F(ServiceProcessTest, FullDiskAtTheStartIsRefused) {
  if (!MayMount()) GTEST_SKIP() << "needs root and mounts";
  std::filesystem::create_directory(state_dir_);
  EXPECT_THAT(
      FailedStart(state_dir_, {}, absl::StrCat("mount -t tmpfs -o size=64k tmpfs ", state_dir_)),
      AllOf(HasSubstr("exit 1"), HasSubstr("full")));
}

TEST_F(ServiceProcessTest, NothingIsLostWhileTheDiskIsFull) {
  if (!MayMount()) GTEST_SKIP() << "needs root and mounts";
  std::filesystem::create_directory(state_dir_);
  CoordinatorProcess::Options options;
  options.state_dir = state_dir_;
  options.mount = absl::StrCat("mount -t tmpfs -o size=32m tmpfs ", state_dir_);
  ASSERT_OK_AND_ASSIGN(coordinator_, CoordinatorProcess::Start(options));
  client_ = std::make_unique<ServiceClient>(address());
  RegisterTinyDataset();

  // The coordinator's own view of the folder.
  const std::string filler =
      absl::StrCat("/proc/", coordinator_->pid(), "/root", state_dir_, "/filler");
  {
    std::ofstream file(filler, std::ios::binary);
    const std::string chunk(1 << 12, 'x');
    while (file.write(chunk.data(), static_cast<std::streamsize>(chunk.size())).flush()) {
    }
  }
  const absl::StatusOr<v1::Job> refused = client().Submit(TinyJob());
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("full")));
  EXPECT_OK(client().GetDataset("tiny")) << "reading needs no space";

  ASSERT_TRUE(std::filesystem::remove(filler));
  ASSERT_OK_AND_ASSIGN(const v1::Job job, client().Submit(TinyJob()));
  EventLog(address(), job.id()).Finish();
  ASSERT_OK_AND_ASSIGN(const v1::Job ended, client().GetJob(job.id()));
  EXPECT_EQ(ended.state(), v1::SUCCEEDED);
  EXPECT_OK(client().VerifyLedger());
}

TEST_F(ServiceProcessTest, DatasetChangedSinceRegistrationFailsTheJobBeforeAnyGrant) {
  StartCoordinator();
  RegisterTinyDataset();
  ASSERT_OK(WriteTinyDataset(dataset_path_, /*records=*/64, /*salt=*/1));
  ASSERT_OK_AND_ASSIGN(const v1::Job job, client().Submit(TinyJob()));
  EventLog(address(), job.id()).Finish();
  ASSERT_OK_AND_ASSIGN(const v1::Job ended, client().GetJob(job.id()));
  EXPECT_EQ(ended.state(), v1::FAILED);
  EXPECT_EQ(ended.reason(), v1::INVALID_DATA);
  EXPECT_EQ(ended.restarts(), 0);
  ASSERT_OK_AND_ASSIGN(const v1::Dataset dataset, client().GetDataset("tiny"));
  EXPECT_EQ(dataset.spent_epsilon(), 0);
  EXPECT_EQ(dataset.reserved_epsilon(), 0) << "the reservation was released";
}

TEST_F(ServiceProcessTest, DatasetTruncatedSinceRegistrationFailsTheJob) {
  StartCoordinator();
  RegisterTinyDataset();
  std::filesystem::resize_file(dataset_path_, std::filesystem::file_size(dataset_path_) - 7);
  ASSERT_OK_AND_ASSIGN(const v1::Job job, client().Submit(TinyJob()));
  EventLog(address(), job.id()).Finish();
  ASSERT_OK_AND_ASSIGN(const v1::Job ended, client().GetJob(job.id()));
  EXPECT_EQ(ended.state(), v1::FAILED);
  EXPECT_EQ(ended.reason(), v1::INVALID_DATA);
}

TEST_F(ServiceProcessTest, MissingWorkerBinaryFailsTheJob) {
  StartCoordinator({}, "/nowhere/sotto-worker");
  RegisterTinyDataset();
  ASSERT_OK_AND_ASSIGN(const v1::Job job, client().Submit(TinyJob()));
  EventLog(address(), job.id()).Finish();
  ASSERT_OK_AND_ASSIGN(const v1::Job ended, client().GetJob(job.id()));
  EXPECT_EQ(ended.state(), v1::FAILED);
  EXPECT_THAT(ended.message(), HasSubstr("/nowhere/sotto-worker"));
}

TEST_F(ServiceProcessTest, WorkerOfAnotherProtocolVersionIsRefusedAndFailsTheJob) {
  // A "worker" that only gives its token away, which the test then says Hello with.
  const std::string worker = folder_ + "/worker.sh";
  const std::string token_file = folder_ + "/token";
  ASSERT_OK(AtomicWriteFile(worker,
                            absl::StrCat("#!/bin/sh\ncat <&3 >", token_file, ".part\nmv ",
                                         token_file, ".part ", token_file, "\nexec sleep 600\n"),
                            0700));
  StartCoordinator({}, worker);
  RegisterTinyDataset();
  TinyJobOptions options;
  options.workers = 1;
  ASSERT_OK_AND_ASSIGN(const v1::Job job, client().Submit(TinyJob(options)));
  EventLog log(address(), job.id());
  absl::StatusOr<std::string> token = absl::NotFoundError("");
  for (int i = 0; i < 3000 && !token.ok(); ++i) {
    WaitUpTo(absl::Milliseconds(20));
    token = ReadFile(token_file);
  }
  ASSERT_OK(token);

  const auto stub = v1::WorkerService::NewStub(
      grpc::CreateChannel(address(), grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const auto stream = stub->Attach(&context);
  v1::WorkerMessage hello;
  hello.mutable_hello()->set_protocol_version(99);
  hello.mutable_hello()->set_job(job.id());
  hello.mutable_hello()->set_attempt(1);
  hello.mutable_hello()->set_attempt_token(*token);
  hello.mutable_hello()->set_next_step(-1);
  stream->Write(hello);
  v1::CoordinatorMessage answer;
  EXPECT_FALSE(stream->Read(&answer));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), AllOf(HasSubstr("99"), HasSubstr("protocol version")));

  log.Finish();
  ASSERT_OK_AND_ASSIGN(const v1::Job ended, client().GetJob(job.id()));
  EXPECT_EQ(ended.state(), v1::FAILED);
  EXPECT_EQ(ended.reason(), v1::PROTOCOL_MISMATCH);
}

}  // namespace
}  // namespace sotto::integration
