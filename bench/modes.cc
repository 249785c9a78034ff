// Gradient modes against no_dp on the real training path: one process per mode, one rank,
// FULL_SHARD. The processes live side by side and run one step each in turn (interleaved), so that
// what else the machine does falls on all of them alike.
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "bench/child_process.h"
#include "bench/mode_plan.h"
#include "bench/mode_trainer.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace sotto::bench {
namespace {

struct Settings {
  std::string json;
  int repeats = 5;
  int64_t micro_batches = 8;
  int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::vector<std::string> modes = {"no_dp", "flash", "per_example"};
  std::vector<std::string> shapes = {"128x16", "512x8"};
};

struct Measured {
  std::unique_ptr<ChildProcess> process;
  std::vector<double> seconds;  // of the measured steps
  std::vector<double> cpu_seconds;
  int64_t peak_bytes = 0;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return 0.5 * (values[(values.size() - 1) / 2] + values[values.size() / 2]);
}

// Of base[i] / own[i].
double MedianRatio(const std::vector<double>& base, const std::vector<double>& own) {
  std::vector<double> ratios;
  for (size_t i = 0; i < own.size(); ++i) ratios.push_back(base[i] / own[i]);
  return Median(ratios);
}

absl::StatusOr<ModeShape> ParseShape(const std::string& text, const Settings& settings) {
  ModeShape shape{
      .name = "gpt2-10m", .micro_batches = settings.micro_batches, .threads = settings.threads};
  const std::vector<std::string> parts = absl::StrSplit(text, 'x');
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &shape.tokens) ||
      !absl::SimpleAtoi(parts[1], &shape.examples) || shape.tokens < 2 || shape.examples < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a shape is TOKENSxEXAMPLES, such as 128x16, but is ", text));
  }
  return shape;
}

absl::StatusOr<std::string> WritePlan(const ModeShape& shape, const std::string& mode,
                                      const std::string& folder, const std::string& sha256,
                                      double clip_norm) {
  ASSIGN_OR_RETURN(const v1::JobPlan plan,
                   MakeModePlan(shape, mode, folder + "/records.bin", sha256, clip_norm));
  const std::string path = absl::StrCat(folder, "/", mode, ".plan");
  RETURN_IF_ERROR(AtomicWriteFile(path, plan.SerializeAsString()));
  return path;
}

absl::StatusOr<double> MedianNormOf(const std::string& plan_path) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ChildProcess> child,
                   ChildProcess::Start({"--norms_of", plan_path}));
  ASSIGN_OR_RETURN(const std::string line, child->ReadLine());
  double norm = 0;
  if (!absl::SimpleAtod(line, &norm) || !(norm > 0)) {
    return absl::InternalError(absl::StrCat("no norm: ", line));
  }
  return norm;
}

// Reads one step's line; the first step of a process only warms up.
absl::Status ReadStep(bool keep, Measured& measured) {
  ASSIGN_OR_RETURN(const std::string line, measured.process->ReadLine());
  const std::vector<std::string> words = absl::StrSplit(line, ' ');
  double seconds = 0;
  double cpu_seconds = 0;
  if (words.size() != 3 || !absl::SimpleAtod(words[0], &seconds) ||
      !absl::SimpleAtod(words[1], &cpu_seconds) ||
      !absl::SimpleAtoi(words[2], &measured.peak_bytes)) {
    return absl::InternalError(absl::StrCat("no measurement: ", line));
  }
  if (!keep) return absl::OkStatus();
  measured.seconds.push_back(seconds);
  measured.cpu_seconds.push_back(cpu_seconds);
  return absl::OkStatus();
}

// Ratios are medians over the rounds of what the round's no_dp step took over this one's.
absl::Status AddRows(const ModeShape& shape, const Settings& settings,
                     const std::map<std::string, Measured>& measured, nlohmann::json& rows) {
  ASSIGN_OR_RETURN(const int64_t parameters, NumParameters(shape));
  const double tokens = static_cast<double>(shape.micro_batches * shape.examples * shape.tokens);
  for (const std::string& mode : settings.modes) {
    const Measured& own = measured.at(mode);
    nlohmann::json row = {{"model", shape.name},
                          {"params", parameters},
                          {"T", shape.tokens},
                          {"B", shape.examples},
                          {"mode", mode},
                          {"tokens_per_s", tokens / Median(own.seconds)},
                          {"peak_bytes", own.peak_bytes},
                          {"threads", shape.threads},
                          {"step_seconds", own.seconds},
                          {"step_cpu_seconds", own.cpu_seconds}};
    ASSIGN_OR_RETURN(const int64_t planned_bytes, PlannedBytes(shape, mode));
    row["planned_bytes"] = planned_bytes;
    if (const auto base = measured.find("no_dp"); base != measured.end()) {
      row["ratio_to_no_dp"] = MedianRatio(base->second.seconds, own.seconds);
      row["cpu_ratio_to_no_dp"] = MedianRatio(base->second.cpu_seconds, own.cpu_seconds);
    }
    std::cout
        << absl::StreamFormat(
               "T=%-4d B=%-3d %-12s %8.0f tokens/s  ratio %.3f (CPU time %.3f)  peak %5d MiB  "
               "plan %5d MiB",
               shape.tokens, shape.examples, mode, row["tokens_per_s"].get<double>(),
               row.value("ratio_to_no_dp", std::nan("")),
               row.value("cpu_ratio_to_no_dp", std::nan("")), own.peak_bytes >> 20,
               planned_bytes >> 20)
        << std::endl;
    rows.push_back(std::move(row));
  }
  return absl::OkStatus();
}

absl::Status MeasureShape(const ModeShape& shape, const Settings& settings,
                          const std::string& folder, nlohmann::json& rows) {
  ASSIGN_OR_RETURN(const std::string sha256, WriteRecords(shape, folder + "/records.bin"));
  ASSIGN_OR_RETURN(const std::string first, WritePlan(shape, "flash", folder, sha256, 1));
  ASSIGN_OR_RETURN(const double clip_norm, MedianNormOf(first));
  std::map<std::string, Measured> measured;
  for (const std::string& mode : settings.modes) {
    ASSIGN_OR_RETURN(const std::string path, WritePlan(shape, mode, folder, sha256, clip_norm));
    ASSIGN_OR_RETURN(measured[mode].process, ChildProcess::Start({"--train", path}));
    RETURN_IF_ERROR(ReadStep(/*keep=*/false, measured[mode]));
  }
  for (int round = 0; round < settings.repeats; ++round) {
    for (const std::string& mode : settings.modes) {
      measured[mode].process->Tell();
      RETURN_IF_ERROR(ReadStep(/*keep=*/true, measured[mode]));
    }
  }
  return AddRows(shape, settings, measured, rows);
}

absl::Status MeasureAll(const Settings& settings) {
  char folder[] = "/tmp/sotto-bench-XXXXXX";
  if (mkdtemp(folder) == nullptr) return absl::InternalError("no folder in /tmp");
  nlohmann::json rows = nlohmann::json::array();
  absl::Status status;
  for (const std::string& text : settings.shapes) {
    const absl::StatusOr<ModeShape> shape = ParseShape(text, settings);
    status = shape.ok() ? MeasureShape(*shape, settings, folder, rows) : shape.status();
    if (!status.ok()) break;
  }
  std::filesystem::remove_all(folder);
  if (!status.ok() || settings.json.empty()) return status;
  std::ofstream out(settings.json);
  out << rows.dump(1) << std::endl;
  return out ? absl::OkStatus()
             : absl::UnavailableError(absl::StrCat("cannot write ", settings.json));
}

}  // namespace
}  // namespace sotto::bench

int main(int argc, char** argv) {
  sotto::bench::Settings settings;
  std::string train, norms_of;
  CLI::App app(
      "Measures gradient modes: tokens per second and peak memory of training steps, sampling, "
      "noise and optimizer "
      "included, with half of the examples clipped. Ratios are medians over the rounds of no_dp's "
      "step over the mode's; on a busy machine trust those of CPU time, with --threads "
      "1.\nExample: ./dev bench modes --json modes.json");
  app.add_option("--json", settings.json, "file for the rows");
  app.add_option("--repeats", settings.repeats, "measured steps of each mode")
      ->check(CLI::PositiveNumber);
  app.add_option("--micro_batches", settings.micro_batches, "of a step")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", settings.threads)->check(CLI::PositiveNumber);
  app.add_option("--modes", settings.modes)->delimiter(',');
  app.add_option("--shapes", settings.shapes, "TOKENSxEXAMPLES of a micro-batch")->delimiter(',');
  app.add_option("--train", train)->group("");
  app.add_option("--norms_of", norms_of)->group("");
  CLI11_PARSE(app, argc, argv);

  signal(SIGPIPE, SIG_IGN);
  const absl::Status status = !train.empty()      ? sotto::bench::TrainOnDemand(train)
                              : !norms_of.empty() ? sotto::bench::PrintMedianNorm(norms_of)
                                                  : sotto::bench::MeasureAll(settings);
  if (status.ok()) return 0;
  std::cerr << status.ToString() << std::endl;
  return 1;
}
