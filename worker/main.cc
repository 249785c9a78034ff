// sotto-worker: flags only. Started by the coordinator, one process per rank.
#include <signal.h>

#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "common/base/log.h"
#include "common/base/number_range.h"
#include "worker/memory/tensor_memory.h"
#include "worker/worker.h"

int main(int argc, char** argv) {
  using sotto::NumberRange;
  constexpr double kMost = 1e9;  // of attempts and ranks: more would be garbage
  sotto::WorkerOptions options;
  CLI::App app("Runs one rank of a training job. The coordinator starts it; nobody else needs to.");
  app.add_option("--coordinator", options.coordinator, "unix:/path or host:port")->required();
  app.add_option("--job", options.job)->required();
  app.add_option("--attempt", options.attempt)->required()->check(NumberRange{0, kMost});
  app.add_option("--rank", options.rank)->required()->check(NumberRange{0, kMost});
  app.add_option("--world_size", options.world_size)->required()->check(NumberRange{1, kMost});
  app.add_option("--token_fd", options.token_fd, "descriptor that holds the attempt token, hex")
      ->required();
  app.add_option("--memfd", options.memfd, "shared memory of all ranks of this host");
  app.add_option("--run_directory", options.run_directory, "where exit-RANK.json is left")
      ->required();
  CLI11_PARSE(app, argc, argv);

  sotto::memory::CountTensors();
  signal(SIGPIPE, SIG_IGN);
  sotto::SetLogFields(
      {{"process", "worker"}, {"job", options.job}, {"rank", absl::StrCat(options.rank)}});
  return sotto::RunWorker(options);
}
