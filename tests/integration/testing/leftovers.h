// What a service may leave behind when it is over, and must not.
#ifndef SOTTO_TESTS_INTEGRATION_TESTING_LEFTOVERS_H_
#define SOTTO_TESTS_INTEGRATION_TESTING_LEFTOVERS_H_

#include <sys/types.h>

#include <string>
#include <vector>

namespace sotto::integration {

// Processes whose command line holds `text` (a state directory), without this one.
std::vector<pid_t> ProcessesWith(const std::string& text);

// Waits until the process has ended; false: not within a minute.
bool AwaitEnd(pid_t pid);

// The worker of (job, rank) among those of `state_dir`; -1: none. Newest first, when an older
// attempt's is still ending.
pid_t FindWorker(const std::string& state_dir, const std::string& job, int rank);

// Names in /dev/shm, where no shared memory of ours may ever be.
std::vector<std::string> NamedSharedMemory();

}  // namespace sotto::integration

#endif  // SOTTO_TESTS_INTEGRATION_TESTING_LEFTOVERS_H_
