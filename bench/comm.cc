// Communication between two ranks of one host: collectives beside memcpy, and a sharded step beside
// two processes that share nothing. Everything in one run, in turns.
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "bench/child_process.h"
#include "bench/collectives.h"
#include "bench/mode_plan.h"
#include "bench/mode_rounds.h"
#include "bench/mode_trainer.h"
#include "bench/output_file.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/scratch_folder.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/check/gnuplot.h"
#include "worker/comm/connect.h"

namespace sotto::bench {
namespace {

constexpr int kRanks = 2;
// What planning gives ranks of a model with large units (common/layout/memory.cc).
constexpr int64_t kRegionElements = int64_t{1} << 20;
constexpr int64_t kGatheredBytes = int64_t{58} << 20;

struct Settings {
  std::string json, plot;
  int rounds = 9;
  std::string model = "gpt2-10m";
  std::string mode = "per_example";
  int64_t tokens = 128;
  int64_t examples = 16;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return 0.5 * (values[(values.size() - 1) / 2] + values[values.size() / 2]);
}

std::vector<double> Ratios(const std::vector<double>& base, const std::vector<double>& own) {
  std::vector<double> ratios;
  for (size_t i = 0; i < own.size(); ++i) ratios.push_back(base[i] / own[i]);
  return ratios;
}

// Inherited by every rank that is spawned from here on; zero when the first attaches.
absl::StatusOr<UniqueFd> MakeMemfd(int64_t bytes) {
  UniqueFd memfd(memfd_create("sotto-bench", /*flags=*/0));
  if (!memfd.is_valid() || ftruncate(memfd.get(), bytes) != 0) {
    return absl::InternalError("no shared memory");
  }
  return memfd;
}

// Seconds of each round.
struct CollectiveTimes {
  std::vector<double> copy, gather, reduce;
};

absl::StatusOr<CollectiveTimes> MeasureCollectives(int rounds) {
  ASSIGN_OR_RETURN(const UniqueFd memfd,
                   MakeMemfd(comm::LocalCommunicator::MemfdBytes(kRanks, kRegionElements)));
  std::vector<std::unique_ptr<ChildProcess>> ranks;
  for (int rank = 0; rank < kRanks; ++rank) {
    ASSIGN_OR_RETURN(
        ranks.emplace_back(),
        ChildProcess::Start(ChildProcess::kOwnExecutable,
                            {"--collectives", "--rank", absl::StrCat(rank), "--memfd",
                             absl::StrCat(memfd.get()), "--rounds", absl::StrCat(rounds)}));
  }
  CollectiveTimes times;
  for (int round = 0; round < rounds; ++round) {
    ASSIGN_OR_RETURN(const std::string line, ranks[0]->ReadLine());
    const std::vector<std::string> words = absl::StrSplit(line, ' ');
    double seconds[3];
    for (size_t i = 0; i < 3; ++i) {
      if (words.size() != 3 || !absl::SimpleAtod(words[i], &seconds[i])) {
        return absl::InternalError(absl::StrCat("no measurement: ", line));
      }
    }
    times.copy.push_back(seconds[0]);
    times.gather.push_back(seconds[1]);
    times.reduce.push_back(seconds[2]);
  }
  return times;
}

absl::Status RunCollectives(int rank, int memfd, int rounds) {
  ASSIGN_OR_RETURN(const std::unique_ptr<comm::Communicator> communicator,
                   comm::Connect({.rank = rank,
                                  .world_size = kRanks,
                                  .memfd = memfd,
                                  .region_elements = kRegionElements}));
  return TimeCollectives(*communicator, kGatheredBytes / static_cast<int64_t>(sizeof(float)),
                         rounds);
}

// Processes that train at the same time.
class Group {
 public:
  absl::Status Start(const std::string& plan_path, int rank, int memfd) {
    ASSIGN_OR_RETURN(processes_.emplace_back(),
                     ChildProcess::Start(ChildProcess::kOwnExecutable,
                                         {"--train", plan_path, "--rank", absl::StrCat(rank),
                                          "--memfd", absl::StrCat(memfd)}));
    return absl::OkStatus();
  }

  // The first step, which every process runs unasked.
  absl::Status WarmUp() { return Wait(); }

  // Seconds until the last one's step is done.
  absl::StatusOr<double> Step() {
    const absl::Time begin = RealClock::Get().Now();
    for (const std::unique_ptr<ChildProcess>& process : processes_) process->Tell();
    RETURN_IF_ERROR(Wait());
    return absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
  }

 private:
  absl::Status Wait() {
    for (const std::unique_ptr<ChildProcess>& process : processes_) {
      RETURN_IF_ERROR(process->ReadLine().status());
    }
    return absl::OkStatus();
  }

  std::vector<std::unique_ptr<ChildProcess>> processes_;
};

struct StepSeconds {
  std::vector<double> alone, sharded;
};

// One step of two ranks, two micro-batches; and two steps of one rank side by side, one each.
absl::StatusOr<StepSeconds> MeasureSteps(const Settings& settings, const std::string& folder) {
  ASSIGN_OR_RETURN(ModeShape shape, ShapeOfModel(settings.model));
  shape.tokens = settings.tokens;
  shape.examples = settings.examples;
  shape.micro_batches = shape.threads = shape.ranks = kRanks;
  ModeShape half = shape;
  half.micro_batches = half.threads = half.ranks = 1;
  ASSIGN_OR_RETURN(const layout::DeviceProfile profile, MeasureProfile(/*threads=*/1));
  const auto write_plan =
      [&](const ModeShape& own,
          const std::string& name) -> absl::StatusOr<std::pair<v1::JobPlan, std::string>> {
    ModeRecords records{.path = absl::StrCat(folder, "/", name, ".tokens")};
    ASSIGN_OR_RETURN(records.sha256, WriteRecords(own, records.path));
    ASSIGN_OR_RETURN(v1::JobPlan plan, MakeModePlan(own, settings.mode, records, profile));
    const std::string path = absl::StrCat(folder, "/", name, ".plan");
    RETURN_IF_ERROR(AtomicWriteFile(path, plan.SerializeAsString()));
    return std::pair(std::move(plan), path);
  };
  ASSIGN_OR_RETURN(const auto sharded_plan, write_plan(shape, "sharded"));
  ASSIGN_OR_RETURN(const auto half_plan, write_plan(half, "alone"));
  ASSIGN_OR_RETURN(const UniqueFd memfd,
                   MakeMemfd(sharded_plan.first.sharding().communicator_bytes()));
  Group sharded, alone;
  for (int rank = 0; rank < kRanks; ++rank) {
    RETURN_IF_ERROR(sharded.Start(sharded_plan.second, rank, memfd.get()));
  }
  RETURN_IF_ERROR(sharded.WarmUp());
  for (int i = 0; i < kRanks; ++i) RETURN_IF_ERROR(alone.Start(half_plan.second, 0, -1));
  RETURN_IF_ERROR(alone.WarmUp());
  StepSeconds seconds;
  for (int round = 0; round < settings.rounds; ++round) {
    for (int turn = 0; turn < 2; ++turn) {
      const bool is_sharded = (round + turn) % 2 == 0;
      ASSIGN_OR_RETURN(const double step, (is_sharded ? sharded : alone).Step());
      (is_sharded ? seconds.sharded : seconds.alone).push_back(step);
    }
  }
  return seconds;
}

absl::Status WritePlot(const std::string& path, double gather, double reduce, double step) {
  return check::RunGnuplot(
             absl::StrCat(
                 "set terminal pngcairo noenhanced size 800,480\nset output ",
                 check::GnuplotQuoted(path), "\n$bars << EOD\n\"all-gather, of memcpy\" ", gather,
                 "\n\"reduce-scatter, of memcpy\" ", reduce, "\n\"step of 2 ranks, of 2 alone\" ",
                 step,
                 "\nEOD\nset title 'two ranks: speed over that of memcpy, or of two "
                 "processes alone'\nset xtics font ',9'\nset yrange [0:1.2]\nset grid y\nset style "
                 "fill solid 0.6\n"
                 "set boxwidth 0.7\nplot $bars using 0:2:xtic(1) with boxes lc 3 notitle, "
                 "'' using 0:2:(sprintf('%.2f', $2)) with labels offset 0,0.6 notitle\n"
                 "set output\n"))
      .status();
}

absl::Status Report(const Settings& settings, const CollectiveTimes& times,
                    const StepSeconds& steps) {
  const double gather = Median(Ratios(times.copy, times.gather));
  const double reduce = Median(Ratios(times.copy, times.reduce));
  const double step = Median(Ratios(steps.sharded, steps.alone));
  const double gigabytes = 1e-9 * static_cast<double>(kGatheredBytes);
  std::cout << absl::StreamFormat(
      "%d MiB between %d processes, %d rounds: memcpy %.1f GB/s, all-gather %.1f GB/s (%.2f of "
      "memcpy), reduce-scatter %.1f GB/s (%.2f)\n",
      kGatheredBytes >> 20, kRanks, settings.rounds, gigabytes / Median(times.copy),
      gigabytes / Median(times.gather), gather, gigabytes / Median(times.reduce), reduce);
  std::cout << absl::StreamFormat(
      "%s, %s, T=%d: a step of %d ranks %.3f s, of %d processes side by side on half the batch "
      "%.3f s: ratio %.3f\n",
      settings.model, settings.mode, settings.tokens, kRanks, Median(steps.sharded), kRanks,
      Median(steps.alone), step);
  if (!settings.json.empty()) {
    const nlohmann::json json = {{"bytes", kGatheredBytes},
                                 {"memcpy_seconds", times.copy},
                                 {"all_gather_seconds", times.gather},
                                 {"reduce_scatter_seconds", times.reduce},
                                 {"all_gather_over_memcpy", gather},
                                 {"reduce_scatter_over_memcpy", reduce},
                                 {"model", settings.model},
                                 {"mode", settings.mode},
                                 {"tokens", settings.tokens},
                                 {"examples", settings.examples},
                                 {"sharded_step_seconds", steps.sharded},
                                 {"alone_step_seconds", steps.alone},
                                 {"sharded_over_alone", step}};
    RETURN_IF_ERROR(AtomicWriteFile(settings.json, json.dump(1) + "\n", 0644));
  }
  return settings.plot.empty() ? absl::OkStatus()
                               : WritePlot(settings.plot, gather, reduce, 1 / step);
}

absl::Status MeasureAll(const Settings& settings) {
  ASSIGN_OR_RETURN(const CollectiveTimes times, MeasureCollectives(settings.rounds));
  RETURN_IF_ERROR(RemoveScratchFoldersOnSignals());
  ASSIGN_OR_RETURN(const std::unique_ptr<ScratchFolder> folder,
                   ScratchFolder::Create("/tmp/sotto-bench-"));
  ASSIGN_OR_RETURN(const StepSeconds steps, MeasureSteps(settings, folder->path()));
  return Report(settings, times, steps);
}

}  // namespace
}  // namespace sotto::bench

int main(int argc, char** argv) {
  sotto::bench::Settings settings;
  std::string train;
  bool collectives = false, profile_device = false;
  int rank = 0, memfd = -1, threads = 1;
  CLI::App app(
      "Two ranks on this host: all-gather and reduce-scatter of 58 MiB against memcpy, and a "
      "sharded step, one thread a rank, against two processes side by side that train on half of "
      "its batch each. Medians over the rounds, in turns.\nExample: ./dev bench comm --json "
      "comm.json --plot comm.png");
  app.add_option("--json", settings.json, "file for all figures")
      ->check(sotto::bench::OutputFile());
  app.add_option("--plot", settings.plot, "PNG file for the ratios")
      ->check(sotto::bench::OutputFile());
  app.add_option("--rounds", settings.rounds)->check(CLI::PositiveNumber);
  app.add_option("--model", settings.model, "gpt2-10m or gpt2-50m");
  app.add_option("--mode", settings.mode);
  app.add_option("--tokens", settings.tokens, "T")->check(CLI::Range(2, 1 << 15));
  app.add_option("--examples", settings.examples, "of a rank's micro-batch")
      ->check(CLI::PositiveNumber);
  app.add_flag("--collectives", collectives)->group("");
  app.add_option("--train", train)->group("");
  app.add_flag("--profile_device", profile_device)->group("");
  app.add_option("--threads", threads)->group("");
  app.add_option("--rank", rank)->group("");
  app.add_option("--memfd", memfd)->group("");
  CLI11_PARSE(app, argc, argv);

  signal(SIGPIPE, SIG_IGN);
  sotto::SetMinLogSeverity(sotto::LogSeverity::kWARNING);  // Not a line for each step.
  if (profile_device) {
    sotto::bench::PrintDeviceProfile(threads);
    return 0;
  }
  const absl::Status status = collectives
                                  ? sotto::bench::RunCollectives(rank, memfd, settings.rounds)
                              : !train.empty() ? sotto::bench::TrainOnDemand(train, rank, memfd)
                                               : sotto::bench::MeasureAll(settings);
  if (status.ok()) return 0;
  std::cerr << status.ToString() << std::endl;
  return 1;
}
