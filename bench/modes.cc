// Gradient modes against no_dp on the real training path: one process per mode, one rank,
// FULL_SHARD. The processes live side by side and run one step each in turn (interleaved), so that
// what else the machine does falls on all of them alike.
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "bench/mode_file.h"
#include "bench/mode_report.h"
#include "bench/mode_rounds.h"
#include "bench/mode_study.h"
#include "bench/mode_trainer.h"
#include "bench/output_file.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/scratch_folder.h"
#include "common/base/status_macros.h"
#include "common/spec/device_profile_message.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"

namespace sotto::bench {
namespace {

struct Settings {
  std::string json, plot, markdown;
  int repeats = 5;
  int64_t micro_batches = 2;
  int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  std::string model = "gpt2-10m";
  std::vector<std::string> modes = {"no_dp", "per_example", "auto"};
  std::vector<std::string> shapes = {"128x16", "512x4"};
  bool study = false;
  double minutes = 0;  // 0: no limit
  PeerPrograms peers;
};

absl::StatusOr<std::vector<StudyPart>> PartsOf(const Settings& settings) {
  const StudyOptions options = {.rounds = settings.repeats,
                                .micro_batches = settings.micro_batches,
                                .threads = settings.threads,
                                .has_peers = !settings.peers.python.empty()};
  if (!settings.study) {
    return Comparison(settings.model, settings.shapes, settings.modes, options);
  }
  ASSIGN_OR_RETURN(std::vector<StudyPart> parts, Study(options));
  std::cerr << absl::StreamFormat(
                   "%d rounds took about %.0f minutes on the machine of docs/performance.md",
                   settings.repeats, EstimatedMinutes(parts))
            << std::endl;
  return parts;
}

absl::StatusOr<nlohmann::json> JsonOfProfile(const layout::DeviceProfile& profile) {
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(spec::ProfileMessage(profile), &text).ok()) {
    return absl::InternalError("the device profile has no JSON form");
  }
  return nlohmann::json::parse(text);
}

// Written after every shape, so that a study that is stopped leaves what it measured.
absl::Status WriteResults(const Settings& settings, const layout::DeviceProfile& profile,
                          const std::vector<MeasuredShape>& measured) {
  if (!settings.json.empty()) {
    nlohmann::json json;
    ASSIGN_OR_RETURN(json["device_profile"], JsonOfProfile(profile));
    for (const MeasuredShape& shape : measured) json["shapes"].push_back(JsonOf(shape));
    std::ofstream out(settings.json);
    out << json.dump(1) << std::endl;
    if (!out) return absl::UnavailableError(absl::StrCat("cannot write ", settings.json));
  }
  return settings.plot.empty() ? absl::OkStatus() : WritePlot(measured, settings.plot);
}

absl::Status MeasureParts(const Settings& settings, std::vector<StudyPart> parts,
                          const std::string& folder) {
  Clock& clock = RealClock::Get();
  ASSIGN_OR_RETURN(const layout::DeviceProfile profile, MeasureProfile(settings.threads));
  const absl::Time end =
      settings.minutes > 0 ? clock.Now() + absl::Minutes(settings.minutes) : absl::InfiniteFuture();
  double weight_left = 0;
  for (const StudyPart& part : parts) weight_left += part.weight;
  std::vector<MeasuredShape> measured;
  for (StudyPart& part : parts) {
    // What earlier parts did not use is for the later ones.
    part.request.deadline = clock.Now() + (end - clock.Now()) * (part.weight / weight_left);
    part.request.folder = folder;
    weight_left -= part.weight;
    ASSIGN_OR_RETURN(MeasuredShape shape,
                     MeasureRounds(part.request, profile, settings.peers, clock, std::cerr));
    std::cout << TextOf(shape) << std::endl;
    measured.push_back(std::move(shape));
    RETURN_IF_ERROR(WriteResults(settings, profile, measured));
  }
  return absl::OkStatus();
}

absl::Status MeasureAll(const Settings& settings) {
  ASSIGN_OR_RETURN(std::vector<StudyPart> parts, PartsOf(settings));
  RETURN_IF_ERROR(RemoveScratchFoldersOnSignals());
  ASSIGN_OR_RETURN(const std::unique_ptr<ScratchFolder> folder,
                   ScratchFolder::Create("/tmp/sotto-bench-"));
  return MeasureParts(settings, std::move(parts), folder->path());
}

// The tables of what an earlier run wrote, and its plot again.
absl::Status PrintMarkdown(const Settings& settings) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(settings.markdown));
  ASSIGN_OR_RETURN(const std::vector<MeasuredShape> measured,
                   MeasuredFromJson(nlohmann::json::parse(text, /*cb=*/nullptr,
                                                          /*allow_exceptions=*/false)));
  std::cout << MarkdownOf(measured) << std::flush;
  return settings.plot.empty() ? absl::OkStatus() : WritePlot(measured, settings.plot);
}

}  // namespace
}  // namespace sotto::bench

int main(int argc, char** argv) {
  sotto::bench::Settings settings;
  std::string train, norms_of;
  bool profile_device = false;
  CLI::App app(
      "Measures gradient modes: tokens per second and peak memory of training steps, sampling, "
      "noise and optimizer included, with half of the examples clipped. Ratios are medians over "
      "the rounds of no_dp's step over the mode's; on a busy machine trust those of CPU time, with "
      "--threads 1.\nExamples:\n  ./dev bench modes --json modes.json --plot modes.png\n"
      "  ./dev bench modes --study --peers --repeats 15 --minutes 40 --json study.json\n"
      "  ./dev bench modes --markdown study.json");
  app.add_option("--json", settings.json, "file for all figures")
      ->check(sotto::bench::OutputFile());
  app.add_option("--plot", settings.plot, "PNG file for the ratios")
      ->check(sotto::bench::OutputFile());
  app.add_option("--repeats", settings.repeats, "rounds: measured steps of each mode")
      ->check(CLI::PositiveNumber);
  app.add_option("--micro_batches", settings.micro_batches, "of a step")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", settings.threads)->check(CLI::PositiveNumber);
  app.add_option("--model", settings.model, "gpt2-10m or gpt2-50m");
  app.add_option("--modes", settings.modes)->delimiter(',');
  app.add_option("--shapes", settings.shapes, "TOKENSxEXAMPLES of a micro-batch")->delimiter(',');
  app.add_flag("--study", settings.study,
               "five lengths, two models; every mode, deferred norms and the peers at two lengths");
  app.add_option("--minutes", settings.minutes,
                 "begin no round after so long but three of each shape; the report says how many "
                 "ran")
      ->check(CLI::PositiveNumber);
  app.add_option("--markdown", settings.markdown,
                 "measure nothing: print the tables of an earlier --json file (and --plot them)");
  app.add_option("--peers_python", settings.peers.python)->group("");
  app.add_option("--peers_script", settings.peers.script)->group("");
  app.add_option("--train", train)->group("");
  app.add_option("--norms_of", norms_of)->group("");
  app.add_flag("--profile_device", profile_device)->group("");
  CLI11_PARSE(app, argc, argv);

  signal(SIGPIPE, SIG_IGN);
  sotto::SetMinLogSeverity(sotto::LogSeverity::kWARNING);  // Not a line for each step.
  if (profile_device) {
    sotto::bench::PrintDeviceProfile(settings.threads);
    return 0;
  }
  const absl::Status status = !train.empty()
                                  ? sotto::bench::TrainOnDemand(train, /*rank=*/0, /*memfd=*/-1)
                              : !norms_of.empty()          ? sotto::bench::PrintMedianNorm(norms_of)
                              : !settings.markdown.empty() ? sotto::bench::PrintMarkdown(settings)
                                                           : sotto::bench::MeasureAll(settings);
  if (status.ok()) return 0;
  std::cerr << status.ToString() << std::endl;
  return 1;
}
