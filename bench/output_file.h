// Files of the command line that a benchmark writes after minutes of measuring.
#ifndef SOTTO_BENCH_OUTPUT_FILE_H_
#define SOTTO_BENCH_OUTPUT_FILE_H_

#include "CLI/CLI.hpp"

namespace sotto::bench {

// Refuses, before anything is measured, what could not be written in the end: a folder, a file
// without the right to write it, or one in a folder that is not there or not writable. Creates
// nothing.
CLI::Validator OutputFile();

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_OUTPUT_FILE_H_
