// sotto-coordinator: flags only.
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/number_range.h"
#include "server/coordinator.h"

namespace sotto {
namespace {

// Slips of the keyboard are beyond them.
constexpr int kMostSlots = 1 << 16;
constexpr double kLongestGrace = 1e6;  // seconds

// Before any thread exists, so that all of them inherit the mask and only this one takes the
// signals.
sigset_t BlockEndSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

int Serve(const Coordinator::Options& options, int address_fd, bool end_with_parent) {
  // State is its owner's alone: worker logs are raw. Workers inherit it.
  umask(0077);
  const sigset_t signals = BlockEndSignals();
  if (end_with_parent) prctl(PR_SET_PDEATHSIG, SIGTERM);
  SetLogFields({{"process", "coordinator"}});
  absl::StatusOr<std::unique_ptr<Coordinator>> coordinator = Coordinator::Start(options);
  if (!coordinator.ok()) {
    std::fprintf(stderr, "sotto-coordinator: %s\n",
                 std::string(coordinator.status().message()).c_str());
    return 1;
  }
  if (address_fd >= 0) {
    const UniqueFd address(address_fd);
    const absl::Status written =
        WriteAll(address.get(), absl::StrCat((*coordinator)->addresses().front(), "\n"));
    if (!written.ok()) {
      SOTTO_LOG(WARNING) << "cannot tell the address: " << written;
      // The parent ended before prctl was called.
      if (end_with_parent) raise(SIGTERM);
    }
  }
  int signal = 0;
  sigwait(&signals, &signal);
  SOTTO_LOG(INFO) << "ending on signal " << signal;
  (*coordinator)->Shutdown();
  return 0;
}

int Main(int argc, char** argv) {
  Coordinator::Options options;
  int address_fd = -1;
  std::string on_exit = "drain";
  double reattach_seconds = absl::ToDoubleSeconds(options.reattach_grace);

  CLI::App app(
      "Accepts training jobs, charges privacy budgets, and runs workers.\n\n"
      "Example: sotto-coordinator --state_dir=$HOME/.local/state/sotto --slots=2");
  app.add_option("--state_dir", options.state_dir, "folder of all state; created when missing")
      ->required();
  app.add_option("--listen", options.listen,
                 "unix:/path (every role) or host:port (readers only); may be repeated; unset: a "
                 "Unix socket under /tmp, "
                 "whose address is written to STATE_DIR/address");
  app.add_option("--slots", options.slots, "workers at a time; unset: one per core")
      ->check(NumberRange{1, kMostSlots});
  app.add_option("--worker_binary", options.worker_binary,
                 "unset: sotto-worker beside this program");
  app.add_option("--address_fd", address_fd,
                 "descriptor that gets the address as a line, then is closed");
  bool end_with_parent = false;
  app.add_flag("--end_with_parent", end_with_parent,
               "end, as on SIGTERM, when the process that started this one ends");
  app.add_option("--on_exit", on_exit,
                 "what SIGTERM does to workers: drain leaves them running, stop ends them")
      ->check(CLI::IsMember({"drain", "stop"}));
  app.add_option("--reattach_seconds", reattach_seconds,
                 "how long a live worker may be without a connection")
      ->check(NumberRange{0, kLongestGrace});
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : 2;
  }
  options.on_exit = on_exit == "stop" ? OnExit::kStop : OnExit::kDrain;
  options.reattach_grace = absl::Seconds(reattach_seconds);
  return Serve(options, address_fd, end_with_parent);
}

}  // namespace
}  // namespace sotto

int main(int argc, char** argv) { return sotto::Main(argc, argv); }
