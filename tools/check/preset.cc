#include "tools/check/preset.h"

#include <algorithm>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "common/layout/gradient_mode.h"

namespace sotto::check {
namespace {

constexpr char kDeferred[] = "+deferred";

v1::ModelSpec Gpt2(int32_t vocabulary_size, int32_t width, int32_t layers, int32_t heads,
                   int32_t max_length) {
  v1::ModelSpec model;
  v1::Gpt2Spec& gpt2 = *model.mutable_gpt2();
  gpt2.set_vocabulary_size(vocabulary_size);
  gpt2.set_width(width);
  gpt2.set_layers(layers);
  gpt2.set_heads(heads);
  gpt2.set_max_length(max_length);
  gpt2.set_init_stddev(0.08);
  return model;
}

std::vector<ModeChoice> Named(const std::vector<std::string>& names) {
  std::vector<ModeChoice> modes;
  for (const std::string& name : names) modes.push_back({.name = name});
  return modes;
}

Preset Default() {
  return {.name = "default",
          .settings = {.model = Gpt2(257, 96, 3, 4, 64),
                       .length = 64,
                       .records = 64,
                       .batch = 32,
                       .micro_batch = 5,
                       .steps = 20,
                       .learning_rate = 0.2},
          .modes = AllModes(),
          .reference = "per_example"};
}

Preset Quick() {
  return {.name = "quick",
          .settings = {.model = Gpt2(257, 32, 2, 2, 32),
                       .length = 32,
                       .records = 24,
                       .batch = 16,
                       .micro_batch = 5,
                       .steps = 5,
                       .learning_rate = 0.2},
          .modes = Named({"per_example", "no_dp", "flash", "flash_fuse", "flash_fuse_bk"}),
          .reference = "per_example"};
}

// The test of the origin: nothing is clipped, and every mode adds the same noise.
Preset Seed002() {
  return {.name = "seed002",
          .settings = {.model = Gpt2(257, 96, 3, 4, 64),
                       .length = 64,
                       .records = 32,
                       .batch = 16,
                       .micro_batch = 4,
                       .steps = 10,
                       .learning_rate = 1e-5,
                       .clip_norm = 1e4,
                       .noise_multiplier = 0.01},
          .modes = Named({"no_dp", "ghost_fsdp", "flash_fsdp", "flash_fsdp_bk", "flash_fsdp_fuse",
                          "flash_fsdp_fuse_bk"}),
          .reference = "no_dp",
          .clips_half = false};
}

// The origin's transformer of 14,635,008 parameters: one rank against two, with noise.
Preset Seed000() {
  Preset preset{.name = "seed000",
                .settings = {.length = 64,
                             .records = 64,
                             .batch = 16,
                             .micro_batch = 4,
                             .steps = 4,
                             .learning_rate = 0.05,
                             .clip_norm = 1,
                             .noise_multiplier = 1,
                             .threads = 1},
                .modes = {{.name = "flash", .world_size = 1},
                          {.name = "flash_fsdp", .world_size = 2},
                          {.name = "ghost", .world_size = 1},
                          {.name = "ghost_fsdp", .world_size = 2}},
                .reference = "flash@1",
                .delta = 1e-5,
                .clips_half = false};
  v1::EncoderSpec& encoder = *preset.settings.model.mutable_encoder();
  encoder.set_vocabulary_size(10000);
  encoder.set_width(512);
  encoder.set_layers(3);
  encoder.set_heads(8);
  encoder.set_hidden_width(2048);
  encoder.set_max_length(128);
  encoder.set_classes(10);
  return preset;
}

std::vector<std::string> ModeNames() {
  std::vector<std::string> names;
  for (const layout::NamedMode& named : layout::kGradientModes) names.emplace_back(named.name);
  names.emplace_back(layout::kAutomaticMode);
  return names;
}

std::vector<std::string> AliasNames() {
  std::vector<std::string> names;
  for (const layout::NamedMode& named : layout::kModeAliases) names.emplace_back(named.name);
  return names;
}

}  // namespace

std::string ModeNamesText() {
  return absl::StrCat(absl::StrJoin(ModeNames(), ", "), ", and the older names ",
                      absl::StrJoin(AliasNames(), ", "));
}

absl::StatusOr<Preset> FindPreset(const std::string& name) {
  for (Preset& preset : std::vector<Preset>{Default(), Quick(), Seed000(), Seed002()}) {
    if (preset.name == name) return preset;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--preset must be one of default, quick, seed000, seed002, but is ", name));
}

std::vector<ModeChoice> AllModes() {
  std::vector<layout::UnitMode> seen;
  std::vector<ModeChoice> modes;
  for (const layout::NamedMode& named : layout::kGradientModes) {
    modes.push_back({.name = std::string(named.name)});
    seen.push_back(named.mode);
  }
  modes.push_back({.name = std::string(layout::kAutomaticMode)});
  for (const layout::NamedMode& named : layout::kGradientModes) {
    const layout::UnitMode deferred = layout::WithDeferredNorms(named.mode);
    if (std::find(seen.begin(), seen.end(), deferred) != seen.end()) continue;
    modes.push_back({.name = std::string(named.name), .deferred_norms = true});
    seen.push_back(deferred);
  }
  return modes;
}

absl::StatusOr<ModeChoice> ParseMode(const std::string& text) {
  absl::string_view name = text;
  int world_size = 0;
  if (const size_t at = name.rfind('@'); at != absl::string_view::npos) {
    if (!absl::SimpleAtoi(name.substr(at + 1), &world_size) || world_size < 1 || world_size > 16) {
      return absl::InvalidArgumentError(
          absl::StrCat("the ranks of ", text, " must be 1 to 16, as in flash@2"));
    }
    name = name.substr(0, at);
  }
  const bool deferred = absl::ConsumeSuffix(&name, kDeferred);
  if (layout::IsAutomatic(name) || layout::FindNamedMode(name).has_value()) {
    return ModeChoice{
        .name = std::string(name), .deferred_norms = deferred, .world_size = world_size};
  }
  return absl::InvalidArgumentError(absl::StrCat("no gradient mode is named ", name, "; there are ",
                                                 ModeNamesText(), "; each also with ", kDeferred));
}

absl::StatusOr<std::vector<ModeChoice>> ParseModes(const std::vector<std::string>& texts) {
  std::vector<ModeChoice> modes;
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(ModeChoice mode, ParseMode(text));
    for (const ModeChoice& other : modes) {
      if (other.Label() != mode.Label()) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("--modes names ", mode.Label(), " twice; each is compared once"));
    }
    modes.push_back(std::move(mode));
  }
  return modes;
}

bool Clips(const ModeChoice& mode) {
  const std::optional<layout::NamedMode> named = layout::FindNamedMode(mode.name);
  return !named.has_value() || named->mode.norm != layout::Norm::kNone;
}

}  // namespace sotto::check
