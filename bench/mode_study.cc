#include "bench/mode_study.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"
#include "common/layout/gradient_mode.h"

namespace sotto::bench {
namespace {

// Starting a part's processes, with the step that warms each up, takes about as long as this many
// of its rounds.
constexpr double kRoundsOfStart = 2;

absl::StatusOr<ModeShape> ParseShape(const std::string& model, const std::string& text,
                                     const StudyOptions& options) {
  ASSIGN_OR_RETURN(ModeShape shape, ShapeOfModel(model));
  shape.micro_batches = options.micro_batches;
  shape.threads = options.threads;
  const std::vector<std::string> parts = absl::StrSplit(text, 'x');
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &shape.tokens) ||
      !absl::SimpleAtoi(parts[1], &shape.examples) || shape.tokens < 2 || shape.examples < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a shape is TOKENSxEXAMPLES, such as 128x16, but is ", text));
  }
  return shape;
}

std::vector<std::string> Peers(bool has_peers) {
  if (!has_peers) return {};
  return {"pytorch", "opacus_hooks", "opacus_ghost"};
}

// Every mode of the table, and what deferring norms does to three of them.
void AddOtherModes(std::vector<std::string>& modes) {
  for (const layout::NamedMode& entry : layout::kGradientModes) {
    const std::string name(entry.name);
    if (std::find(modes.begin(), modes.end(), name) == modes.end()) modes.push_back(name);
  }
  for (const char* mode : {"ghost", "flash", "per_example"}) {
    modes.push_back(absl::StrCat(mode, kDeferredSuffix));
  }
}

}  // namespace

absl::StatusOr<std::vector<StudyPart>> Study(const StudyOptions& options) {
  struct Line {
    const char* model;
    const char* shape;
    bool everything;
    double own_seconds;          // of a round
    double peer_seconds;         // the peers' share, where they run
    const char* also = nullptr;  // one more mode
  };
  // auto mixes held gradients and books at T=64: beside it run all of either.
  constexpr const char* kMixed = "flash_bk";
  constexpr Line kLines[] = {
      {"gpt2-10m", "128x16", true, 15.6, 5.2},      {"gpt2-10m", "512x4", true, 19.6, 6.4},
      {"gpt2-10m", "64x32", false, 4.2, 0, kMixed}, {"gpt2-10m", "256x8", false, 3.1, 0},
      {"gpt2-10m", "1024x2", false, 3.8, 0},        {"gpt2-50m", "128x16", false, 13.6, 0},
      {"gpt2-50m", "512x4", false, 14.5, 0}};
  std::vector<StudyPart> parts;
  for (const Line& line : kLines) {
    StudyPart& part = parts.emplace_back();
    part.weight = line.own_seconds + (options.has_peers ? line.peer_seconds : 0);
    part.request.rounds = options.rounds;
    ASSIGN_OR_RETURN(part.request.shape, ParseShape(line.model, line.shape, options));
    part.request.modes = {"no_dp", "per_example", "auto"};
    if (line.also != nullptr) part.request.modes.push_back(line.also);
    if (!line.everything) continue;
    AddOtherModes(part.request.modes);
    part.request.peers = Peers(options.has_peers);
  }
  return parts;
}

double EstimatedMinutes(const std::vector<StudyPart>& study) {
  double seconds = 0;
  for (const StudyPart& part : study) {
    seconds += part.weight * (part.request.rounds + kRoundsOfStart);
  }
  return seconds / 60;
}

absl::StatusOr<std::vector<StudyPart>> Comparison(const std::string& model,
                                                  const std::vector<std::string>& shapes,
                                                  const std::vector<std::string>& modes,
                                                  const StudyOptions& options) {
  std::vector<StudyPart> parts;
  for (const std::string& text : shapes) {
    StudyPart& part = parts.emplace_back();
    ASSIGN_OR_RETURN(part.request.shape, ParseShape(model, text, options));
    part.request.modes = modes;
    part.request.peers = Peers(options.has_peers);
    part.request.rounds = options.rounds;
  }
  return parts;
}

}  // namespace sotto::bench
