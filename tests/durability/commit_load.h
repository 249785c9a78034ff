// What the process that is killed does: grants steps of several jobs as fast as it can and says so.
#ifndef SOTTO_TESTS_DURABILITY_COMMIT_LOAD_H_
#define SOTTO_TESTS_DURABILITY_COMMIT_LOAD_H_

#include <cstdint>
#include <string>

namespace sotto::durability {

inline constexpr int kJobs = 6;  // in flight at a time, so that commits are of groups

// Opens the state of `folder`, admits kJobs jobs if there are none, starts a new attempt of each,
// and grants steps to all of them at once until the process dies. Each grant and its event are one
// request. Once a grant is committed, it writes "<job> <attempt> <first> <end>\n" to `report_fd`.
// Returns only on errors, with the exit status.
int RunCommitLoad(const std::string& folder, int report_fd);

}  // namespace sotto::durability

#endif  // SOTTO_TESTS_DURABILITY_COMMIT_LOAD_H_
