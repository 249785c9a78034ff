// sotto: the command line.
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "client/cli/program.h"

int main(int argc, char** argv) {
  sotto::cli::Context context{.out = std::cout, .err = std::cerr};
  const char* no_color = std::getenv("NO_COLOR");
  context.is_terminal = isatty(STDOUT_FILENO) && (no_color == nullptr || *no_color == '\0');
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) context.width = size.ws_col;
  return sotto::cli::RunProgram(std::vector<std::string>(argv + 1, argv + argc), context);
}
