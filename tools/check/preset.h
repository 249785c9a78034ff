// Named sets of settings and modes.
#ifndef SOTTO_TOOLS_CHECK_PRESET_H_
#define SOTTO_TOOLS_CHECK_PRESET_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/check/run_settings.h"

namespace sotto::check {

struct Preset {
  std::string name;
  RunSettings settings;
  std::vector<ModeChoice> modes;
  // What the others of its kind (clipping or not) are compared with.
  std::string reference;
  // 0: none; else the report states what the steps would cost a private job, at this delta.
  double delta = 0;
  // Clip at the median norm of the examples' first gradients: half of them are clipped.
  bool clips_half = true;
  // By the command line: then nobody has seen to it that some are clipped and some are not.
  bool clip_norm_given = false;
};

// default, quick, seed000 or seed002. INVALID_ARGUMENT: another name, with those there are.
absl::StatusOr<Preset> FindPreset(const std::string& name);

// Every mode of common/layout/gradient_mode.h, each once more with deferred norms where that makes
// another mode, and auto.
std::vector<ModeChoice> AllModes();

// "flash", "flash+deferred", "flash@4" (ranks), an alias, or "auto". INVALID_ARGUMENT: no such
// mode, with those there are.
absl::StatusOr<ModeChoice> ParseMode(const std::string& text);

// Each of them. INVALID_ARGUMENT: also one that is there twice.
absl::StatusOr<std::vector<ModeChoice>> ParseModes(const std::vector<std::string>& texts);

// Every mode's name, auto, and the older names, for messages.
std::string ModeNamesText();

// Whether the mode clips.
bool Clips(const ModeChoice& mode);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_PRESET_H_
