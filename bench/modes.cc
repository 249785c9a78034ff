// Gradient modes against no_dp on the real training path: one process per mode, one rank,
// FULL_SHARD. The processes live side by side and run one step each in turn (interleaved), so that
// what else the machine does falls on all of them alike.
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "bench/mode_plan.h"
#include "bench/mode_report.h"
#include "bench/mode_rounds.h"
#include "bench/mode_trainer.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/layout/gradient_mode.h"
#include "common/spec/device_profile_message.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"

namespace sotto::bench {
namespace {

struct Settings {
  std::string json, plot;
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

absl::StatusOr<ModeShape> ParseShape(const std::string& model, const std::string& text,
                                     const Settings& settings) {
  ASSIGN_OR_RETURN(ModeShape shape, ShapeOfModel(model));
  shape.micro_batches = settings.micro_batches;
  shape.threads = settings.threads;
  const std::vector<std::string> parts = absl::StrSplit(text, 'x');
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &shape.tokens) ||
      !absl::SimpleAtoi(parts[1], &shape.examples) || shape.tokens < 2 || shape.examples < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a shape is TOKENSxEXAMPLES, such as 128x16, but is ", text));
  }
  return shape;
}

// A request, and its share of the time that all requests may take.
struct StudyPart {
  RoundsRequest request;
  double weight = 1;
};

std::vector<std::string> OtherModes(const std::vector<std::string>& modes) {
  std::vector<std::string> others;
  for (const layout::NamedMode& entry : layout::kGradientModes) {
    const std::string name(entry.name);
    if (std::find(modes.begin(), modes.end(), name) == modes.end()) others.push_back(name);
  }
  return others;
}

// The best modes and auto at five lengths and for a larger model; at two lengths every mode, and
// the peers. 2048 tokens a micro-batch.
absl::StatusOr<std::vector<StudyPart>> PartsOf(const Settings& settings) {
  struct Line {
    const char* model;
    const char* shape;
    bool everything;
    double weight;  // measured seconds of a round, roughly
  };
  constexpr Line kStudy[] = {{"gpt2-10m", "128x16", true, 10}, {"gpt2-10m", "512x4", true, 13},
                             {"gpt2-10m", "64x32", false, 4},  {"gpt2-10m", "256x8", false, 4},
                             {"gpt2-10m", "1024x2", false, 5}, {"gpt2-50m", "128x16", false, 16},
                             {"gpt2-50m", "512x4", false, 16}};
  std::vector<StudyPart> parts;
  const bool has_peers = !settings.peers.python.empty();
  if (settings.study) {
    for (const Line& line : kStudy) {
      StudyPart& part = parts.emplace_back();
      part.weight = line.weight;
      ASSIGN_OR_RETURN(part.request.shape, ParseShape(line.model, line.shape, settings));
      part.request.modes = {"no_dp", "per_example", "auto"};
      if (!line.everything) continue;
      part.request.slow_modes = OtherModes(part.request.modes);
      for (const char* mode : {"ghost", "flash", "per_example"}) {
        part.request.slow_modes.push_back(absl::StrCat(mode, kDeferredSuffix));
      }
      if (has_peers) part.request.peers = {"pytorch", "opacus_hooks", "opacus_ghost"};
    }
  } else {
    for (const std::string& text : settings.shapes) {
      StudyPart& part = parts.emplace_back();
      ASSIGN_OR_RETURN(part.request.shape, ParseShape(settings.model, text, settings));
      part.request.modes = settings.modes;
      if (has_peers) part.request.peers = {"pytorch", "opacus_hooks", "opacus_ghost"};
    }
  }
  for (StudyPart& part : parts) part.request.rounds = settings.repeats;
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
                     MeasureRounds(part.request, profile, settings.peers, clock));
    std::cout << TextOf(shape) << std::endl;
    measured.push_back(std::move(shape));
    RETURN_IF_ERROR(WriteResults(settings, profile, measured));
  }
  return absl::OkStatus();
}

absl::Status MeasureAll(const Settings& settings) {
  ASSIGN_OR_RETURN(std::vector<StudyPart> parts, PartsOf(settings));
  ASSIGN_OR_RETURN(const std::string folder, MakeTempDir("/tmp/sotto-bench-"));
  const absl::Status status = MeasureParts(settings, std::move(parts), folder);
  std::error_code ignored;  // Best effort: a folder of random records in /tmp.
  std::filesystem::remove_all(folder, ignored);
  return status;
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
      "--threads 1.\nExample: ./dev bench modes --json modes.json --plot modes.png");
  app.add_option("--json", settings.json, "file for all figures");
  app.add_option("--plot", settings.plot, "PNG file for the ratios");
  app.add_option("--repeats", settings.repeats, "rounds: measured steps of each mode")
      ->check(CLI::PositiveNumber);
  app.add_option("--micro_batches", settings.micro_batches, "of a step")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", settings.threads)->check(CLI::PositiveNumber);
  app.add_option("--model", settings.model, "gpt2-10m or gpt2-50m");
  app.add_option("--modes", settings.modes)->delimiter(',');
  app.add_option("--shapes", settings.shapes, "TOKENSxEXAMPLES of a micro-batch")->delimiter(',');
  app.add_flag("--study", settings.study,
               "five lengths, two models, every mode at two lengths; slow modes and Opacus run in "
               "every third round");
  app.add_option("--minutes", settings.minutes,
                 "begin no round after so long but three of each shape; the report says how many "
                 "ran")
      ->check(CLI::PositiveNumber);
  app.add_option("--peers_python", settings.peers.python)->group("");
  app.add_option("--peers_script", settings.peers.script)->group("");
  app.add_option("--train", train)->group("");
  app.add_option("--norms_of", norms_of)->group("");
  app.add_flag("--profile_device", profile_device)->group("");
  CLI11_PARSE(app, argc, argv);

  signal(SIGPIPE, SIG_IGN);
  if (profile_device) {
    sotto::bench::PrintDeviceProfile(settings.threads);
    return 0;
  }
  const absl::Status status = !train.empty()
                                  ? sotto::bench::TrainOnDemand(train, /*rank=*/0, /*memfd=*/-1)
                              : !norms_of.empty() ? sotto::bench::PrintMedianNorm(norms_of)
                                                  : sotto::bench::MeasureAll(settings);
  if (status.ok()) return 0;
  std::cerr << status.ToString() << std::endl;
  return 1;
}
