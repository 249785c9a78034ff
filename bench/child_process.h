// A process that is spoken to in lines.
#ifndef SOTTO_BENCH_CHILD_PROCESS_H_
#define SOTTO_BENCH_CHILD_PROCESS_H_

#include <sys/types.h>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace sotto::bench {

// Not thread-safe. The destructor closes the child's stdin and waits for its end.
class ChildProcess {
 public:
  // This program.
  static constexpr char kOwnExecutable[] = "/proc/self/exe";

  // Runs the program with these arguments. INTERNAL: it could not be started.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const std::string& program, const std::vector<std::string>& arguments);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Writes an empty line.
  void Tell();

  // The child's next line. UNAVAILABLE: it ended; its stderr, which is ours, says why.
  absl::StatusOr<std::string> ReadLine();

 private:
  ChildProcess(pid_t pid, FILE* in, FILE* out) : pid_(pid), in_(in), out_(out) {}

  const pid_t pid_;
  FILE* const in_;   // the child's stdin
  FILE* const out_;  // the child's stdout
};

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_CHILD_PROCESS_H_
