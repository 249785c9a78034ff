#include "server/launcher/launcher.h"

#include "absl/strings/str_cat.h"

namespace sotto::launcher {

std::string WorkerExit::ToString() const {
  const std::string who = absl::StrCat("rank ", rank);
  std::string text;
  switch (kind) {
    case Kind::kExited:
      text = absl::StrCat(who, " exited with status ", code);
      break;
    case Kind::kSignalled:
      text = absl::StrCat(who, " was killed by signal ", code);
      break;
    case Kind::kVanished:
      text = absl::StrCat(who, " is gone");
      break;
  }
  if (record.has_value() && !record->message.empty()) absl::StrAppend(&text, ": ", record->message);
  return text;
}

}  // namespace sotto::launcher
