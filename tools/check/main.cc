// sotto-check: gradient modes, models and world sizes against one another.
#include "common/base/scratch_folder.h"
#include "tools/check/command.h"
#include "tools/check/program.h"

int main(int argc, char** argv) {
  const absl::Status status = sotto::RemoveScratchFoldersOnSignals();
  if (!status.ok()) return sotto::check::Fail(status);
  return sotto::check::RunProgram(argc, argv);
}
