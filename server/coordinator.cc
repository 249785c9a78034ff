#include "server/coordinator.h"

#include <sys/sysinfo.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/clock.h"
#include "common/base/executable.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/version.h"
#include "server/api/server.h"
#include "server/database/database.h"
#include "server/database/state_directory.h"
#include "server/launcher/posix_launcher.h"
#include "server/ledger/ledger_schema.h"
#include "server/ledger/sqlite_dataset_registry.h"
#include "server/ledger/sqlite_ledger.h"
#include "server/planning/planner.h"
#include "server/scheduler/job_scheduler.h"
#include "server/socket_folder.h"
#include "server/store/job_store_schema.h"
#include "server/store/sqlite_job_store.h"

namespace sotto {
namespace {

constexpr char kUnix[] = "unix:";
constexpr absl::Duration kDrainGrace = absl::Seconds(5);
constexpr absl::Duration kStopGrace =
    absl::Seconds(70);  // above the scheduler's own for its workers

int Cores() { return std::max(1u, std::thread::hardware_concurrency()); }

planning::HostFacts FactsOfThisHost(int slots) {
  planning::HostFacts facts;
  facts.slots = slots;
  facts.cores = Cores();
  struct sysinfo info;
  if (sysinfo(&info) == 0) facts.memory_bytes = static_cast<int64_t>(info.totalram) * info.mem_unit;
  return facts;
}

// Where to serve, the workers' Unix socket first; it is in `socket_folder` unless it is given.
absl::StatusOr<std::vector<std::string>> ListenAddresses(const Coordinator::Options& options,
                                                         const std::string& state_dir,
                                                         SocketFolder& socket_folder) {
  std::vector<std::string> listen;
  std::vector<std::string> tcp;
  for (const std::string& address : options.listen) {
    (absl::StartsWith(address, kUnix) ? listen : tcp).push_back(address);
  }
  if (listen.size() > 1) return absl::InvalidArgumentError("listen: at most one Unix socket");
  if (listen.empty()) {
    ASSIGN_OR_RETURN(socket_folder, ClaimSocketFolder(state_dir));
    listen.push_back(absl::StrCat(kUnix, socket_folder.path, "/socket"));
  }
  listen.insert(listen.end(), tcp.begin(), tcp.end());
  return listen;
}

// All but what it works with.
scheduler::JobScheduler::Options SchedulingOf(const Coordinator::Options& options,
                                              const std::string& state_dir,
                                              const std::string& worker_address) {
  scheduler::JobScheduler::Options scheduling;
  scheduling.slots = options.slots > 0 ? options.slots : Cores();
  scheduling.run_root = state_dir;
  scheduling.coordinator_address = worker_address;
  scheduling.policy.reattach_grace = options.reattach_grace;
  scheduling.clock = &RealClock::Get();
  const std::string worker =
      options.worker_binary.empty() ? BesideThisExecutable("sotto-worker") : options.worker_binary;
  scheduling.make_launcher = [worker](launcher::Launcher::ExitCallback on_exit)
      -> absl::StatusOr<std::unique_ptr<launcher::Launcher>> {
    return launcher::PosixLauncher::Create(worker, std::move(on_exit));
  };
  return scheduling;
}

}  // namespace

struct Coordinator::Parts {
  OnExit on_exit = OnExit::kDrain;
  std::unique_ptr<database::StateDirectory> state;
  SocketFolder socket_folder;  // empty: the Unix socket's path was given
  std::unique_ptr<database::Database> database;
  std::unique_ptr<store::SqliteJobStore> jobs;
  std::unique_ptr<ledger::SqliteLedger> ledger;
  std::unique_ptr<ledger::SqliteDatasetRegistry> datasets;
  std::unique_ptr<scheduler::JobScheduler> scheduler;
  std::unique_ptr<api::Server> server;

  // Callbacks of the database's threads reach into everything above it.
  ~Parts() {
    server = nullptr;
    scheduler = nullptr;
    if (database != nullptr) database->Stop();
    // A start that failed: no worker waits there.
    if (socket_folder.is_new) RemoveSocketFolder(socket_folder.path);
  }
};

absl::StatusOr<std::unique_ptr<Coordinator>> Coordinator::Start(const Options& options) {
  auto parts = std::make_unique<Parts>();
  parts->on_exit = options.on_exit;
  if (options.state_dir.empty()) return absl::InvalidArgumentError("state_dir must be given");
  if (options.slots < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("slots must be positive, but is ", options.slots));
  }
  std::error_code error;
  const std::string state_dir =
      std::filesystem::absolute(options.state_dir, error).lexically_normal().string();
  ASSIGN_OR_RETURN(parts->state, database::StateDirectory::Claim(state_dir));
  ASSIGN_OR_RETURN(const std::vector<std::string> listen,
                   ListenAddresses(options, state_dir, parts->socket_folder));
  ASSIGN_OR_RETURN(
      parts->database,
      database::Database::Open({.path = parts->state->File("sotto.db"),
                                .schemas = {store::JobStoreSchema(), ledger::LedgerSchema()}}));
  parts->jobs = std::make_unique<store::SqliteJobStore>(*parts->database);
  parts->ledger = std::make_unique<ledger::SqliteLedger>(RealClock::Get());
  parts->datasets =
      std::make_unique<ledger::SqliteDatasetRegistry>(*parts->database, *parts->ledger);

  scheduler::JobScheduler::Options scheduling = SchedulingOf(options, state_dir, listen.front());
  scheduling.queue = parts->database.get();
  scheduling.store = parts->jobs.get();
  scheduling.ledger = parts->ledger.get();
  ASSIGN_OR_RETURN(parts->scheduler, scheduler::JobScheduler::Create(scheduling));

  api::Server::Options serving;
  serving.listen = listen;
  serving.scheduler = parts->scheduler.get();
  serving.jobs = parts->jobs.get();
  serving.datasets = parts->datasets.get();
  serving.clock = &RealClock::Get();
  serving.host = FactsOfThisHost(scheduling.slots);
  serving.state_dir = state_dir;
  serving.version = kVersion;
  ASSIGN_OR_RETURN(parts->server, api::Server::Start(serving));
  RETURN_IF_ERROR(parts->state->PublishAddress(parts->server->addresses().front()));
  parts->scheduler->Start();
  parts->socket_folder.is_new = false;
  SOTTO_LOG(INFO) << "serving on " << absl::StrJoin(parts->server->addresses(), ", ") << " with "
                  << scheduling.slots << " slots, state in " << state_dir;
  return std::unique_ptr<Coordinator>(new Coordinator(std::move(parts)));
}

Coordinator::Coordinator(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Coordinator::~Coordinator() = default;

const std::vector<std::string>& Coordinator::addresses() const {
  return parts_->server->addresses();
}

void Coordinator::Shutdown() {
  parts_->scheduler->Drain();
  if (parts_->on_exit == OnExit::kStop) parts_->scheduler->StopWorkers(kStopGrace);
  parts_->server->Drain(kDrainGrace);
  parts_->scheduler->Stop();
  const bool workers_left = parts_->scheduler->any_alive();
  parts_->server.reset();
  parts_->scheduler.reset();
  parts_->database->Stop();
  if (!workers_left && !parts_->socket_folder.path.empty()) {
    RemoveSocketFolder(parts_->socket_folder.path);
  }
  SOTTO_LOG(INFO) << (workers_left ? "ended; workers go on" : "ended");
}

}  // namespace sotto
