#include "server/api/server.h"

#include <sys/stat.h>
#include <chrono>
#include <utility>

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/api/job_service.h"
#include "server/api/ledger_service.h"
#include "server/api/listen_address.h"
#include "server/api/worker_service.h"

namespace sotto::api {
namespace {

constexpr int kMaxReceiveBytes = 4 << 20;
constexpr int kMaxMetadataBytes = 16 << 10;
constexpr int kMaxStreamsPerConnection = 1000;
constexpr int kMaxThreads = 64;

void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  grpc::ResourceQuota quota("sotto");
  quota.SetMaxThreads(kMaxThreads);
  builder.SetResourceQuota(quota);
  // Two coordinators on one port would each get half of the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

void SetKeepalive(grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Clients may ping every 10 s without being told to go away.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
}

// Files that gRPC creates while this lives, its sockets, have mode 0600 from the start.
class PrivateFiles {
 public:
  PrivateFiles() : previous_(umask(0177)) {}
  ~PrivateFiles() { umask(previous_); }

 private:
  const mode_t previous_;
};

std::string BoundAddress(const std::string& address, int port) {
  if (IsUnixAddress(address)) return address;
  return absl::StrCat(address.substr(0, address.rfind(':')), ":", port);
}

JobService::Options JobServiceOptions(const Server::Options& options) {
  return {.scheduler = options.scheduler,
          .jobs = options.jobs,
          .clock = options.clock,
          .submission = {.datasets = options.datasets,
                         .scheduler = options.scheduler,
                         .jobs = options.jobs,
                         .host = options.host},
          .state_dir = options.state_dir,
          .version = options.version,
          .protocol_version = options.protocol_version};
}

}  // namespace

struct Server::Parts {
  explicit Parts(const Options& options)
      : jobs(JobServiceOptions(options)), ledger(*options.datasets), workers(*options.scheduler) {}

  JobService jobs;
  LedgerService ledger;
  WorkerService workers;
  std::vector<std::string> addresses;
  std::unique_ptr<grpc::Server> server;  // Last: ends before the services do.
};

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Options& options) {
  if (options.listen.empty()) return absl::InvalidArgumentError("no address to listen on");
  for (const std::string& address : options.listen) RETURN_IF_ERROR(PrepareToListen(address));

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  auto parts = std::make_unique<Parts>(options);
  grpc::ServerBuilder builder;
  SetLimits(builder);
  SetKeepalive(builder);
  builder.RegisterService(&parts->jobs);
  builder.RegisterService(&parts->ledger);
  builder.RegisterService(&parts->workers);
  std::vector<int> ports(options.listen.size(), 0);
  for (size_t i = 0; i < ports.size(); ++i) {
    builder.AddListeningPort(options.listen[i], grpc::InsecureServerCredentials(), &ports[i]);
  }
  {
    PrivateFiles private_files;
    parts->server = builder.BuildAndStart();
  }
  for (size_t i = 0; i < ports.size(); ++i) {
    if (parts->server == nullptr && ports[i] == 0) {
      return absl::UnavailableError(absl::StrCat("cannot listen on ", options.listen[i]));
    }
    parts->addresses.push_back(BoundAddress(options.listen[i], ports[i]));
  }
  if (parts->server == nullptr) return absl::InternalError("the gRPC server does not start");
  parts->server->GetHealthCheckService()->SetServingStatus(true);
  return std::unique_ptr<Server>(new Server(std::move(parts)));
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() { Drain(absl::ZeroDuration()); }

const std::vector<std::string>& Server::addresses() const { return parts_->addresses; }

void Server::Drain(absl::Duration grace) {
  const absl::Status status =
      absl::UnavailableError("the coordinator is shutting down; try again later");
  parts_->server->GetHealthCheckService()->SetServingStatus(false);
  // Shutdown waits for every stream, so they are ended first.
  parts_->ledger.Drain();
  parts_->jobs.Drain(status);
  parts_->workers.Drain(status);
  parts_->server->Shutdown(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(grace));
  parts_->server->Wait();
}

}  // namespace sotto::api
