// Files of the command line that a benchmark writes after minutes of measuring.
#ifndef SOTTO_BENCH_OUTPUT_FILE_H_
#define SOTTO_BENCH_OUTPUT_FILE_H_

#include "CLI/CLI.hpp"

namespace sotto::bench {

// CheckOutputFile of common/base, before anything is measured.
CLI::Validator OutputFile();

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_OUTPUT_FILE_H_
