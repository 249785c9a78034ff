// A real api::Server over fakes, on a Unix socket and on a TCP port, with a client for each.
#ifndef SOTTO_SERVER_API_TESTING_API_FIXTURE_H_
#define SOTTO_SERVER_API_TESTING_API_FIXTURE_H_

#include <filesystem>
#include <memory>
#include <string>

#include <grpcpp/grpcpp.h>

#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "proto/sotto/v1/job_service.grpc.pb.h"
#include "proto/sotto/v1/ledger_service.grpc.pb.h"
#include "server/api/server.h"
#include "server/api/testing/fake_dataset_registry.h"
#include "server/api/testing/fake_job_reader.h"
#include "server/api/testing/fake_scheduler.h"

namespace sotto::api {

class ApiFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(folder_, MakeTempDir("/tmp/sotto-api-"));
    ASSERT_OK_AND_ASSIGN(server_, Server::Start(MakeOptions()));
    local_ = grpc::CreateChannel(server_->addresses()[0], grpc::InsecureChannelCredentials());
    remote_ = grpc::CreateChannel(server_->addresses()[1], grpc::InsecureChannelCredentials());
    jobs_ = v1::JobService::NewStub(local_);
    remote_jobs_ = v1::JobService::NewStub(remote_);
    ledger_ = v1::LedgerService::NewStub(local_);
    remote_ledger_ = v1::LedgerService::NewStub(remote_);
  }
  void TearDown() override {
    server_ = nullptr;
    std::filesystem::remove_all(folder_);
  }

  Server::Options MakeOptions() {
    Server::Options options;
    options.listen = {"unix:" + folder_ + "/socket", "127.0.0.1:0"};
    options.scheduler = &scheduler_;
    options.jobs = &reader_;
    options.datasets = &datasets_;
    options.clock = &clock_;
    options.host.slots = 4;
    options.host.cores = 4;
    options.host.memory_bytes = int64_t{8} << 30;
    options.state_dir = folder_;
    options.version = "1.2.3";
    return options;
  }

  // The detail of this kind; an empty one when there is none.
  template <typename Detail>
  static Detail DetailOf(const grpc::Status& status) {
    google::rpc::Status details;
    Detail found;
    if (!details.ParseFromString(status.error_details())) return found;
    for (const google::protobuf::Any& detail : details.details()) {
      if (detail.Is<Detail>()) detail.UnpackTo(&found);
    }
    return found;
  }

  std::string folder_;
  FakeScheduler scheduler_;
  FakeJobReader reader_;
  FakeDatasetRegistry datasets_;
  SimulatedClock clock_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> local_;
  std::shared_ptr<grpc::Channel> remote_;
  std::unique_ptr<v1::JobService::Stub> jobs_;
  std::unique_ptr<v1::JobService::Stub> remote_jobs_;
  std::unique_ptr<v1::LedgerService::Stub> ledger_;
  std::unique_ptr<v1::LedgerService::Stub> remote_ledger_;
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_TESTING_API_FIXTURE_H_
