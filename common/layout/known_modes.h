// Modes that planning falls back on or proposes. They are looked up in the table when this is
// compiled: a name that is not there does not compile.
#ifndef SOTTO_COMMON_LAYOUT_KNOWN_MODES_H_
#define SOTTO_COMMON_LAYOUT_KNOWN_MODES_H_

#include "absl/strings/string_view.h"
#include "common/layout/gradient_mode.h"

namespace sotto::layout {

consteval NamedMode ModeOfTable(absl::string_view name) {
  for (const NamedMode& entry : kGradientModes) {
    if (entry.name == name) return entry;
  }
  throw "no such mode";
}

inline constexpr NamedMode kNoDpMode = ModeOfTable("no_dp");
inline constexpr NamedMode kPerExampleMode = ModeOfTable("per_example");
inline constexpr NamedMode kFlashMode = ModeOfTable("flash");  // the least memory
inline constexpr NamedMode kFlashBkMode = ModeOfTable("flash_bk");

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_KNOWN_MODES_H_
