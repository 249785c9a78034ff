// sotto-check: gradient modes, models and world sizes against one another.
#include "tools/check/program.h"

int main(int argc, char** argv) { return sotto::check::RunProgram(argc, argv); }
