// What every verb of the command line shares: where to write, in which form, and which coordinator
// to ask.
#ifndef SOTTO_CLIENT_CLI_CONTEXT_H_
#define SOTTO_CLIENT_CLI_CONTEXT_H_

#include <google/protobuf/message.h>

#include <memory>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/coordinator_process.h"
#include "client/exit_code.h"
#include "client/job_client.h"

namespace sotto::cli {

enum class OutputFormat { kTable, kJson, kJsonl };

// A coordinator to talk to; one that was started for this call ends with it.
struct Session {
  std::unique_ptr<client::CoordinatorProcess> process;
  std::unique_ptr<client::JobClient> client;
};

// Owned by main; verbs hold a reference. Main thread only.
struct Context {
  std::ostream& out;  // machines read it: one document, or one object a line
  std::ostream& err;  // people read it
  bool is_terminal = false;
  int width = 100;

  // Options of the program.
  std::string address;    // --address, SOTTO_ADDRESS; unset: the one that the state folder names
  std::string state_dir;  // --state_dir, SOTTO_STATE_DIR; unset: the default
  OutputFormat output = OutputFormat::kTable;

  client::ExitCode exit_code = client::ExitCode::kOk;

  // Writes an error to `err` and sets the exit code.
  void Finish(const absl::Status& status);

  // UNAVAILABLE, with what to do, when no coordinator runs.
  absl::StatusOr<Session> Connect();
  // For verbs that look at what is stored: ConnectOrStart where the state folder holds something,
  // Connect elsewhere.
  absl::StatusOr<Session> ConnectToState();
  // The same, but starts a coordinator on the state folder when none runs there and no address was
  // given. It leaves workers that it finds running as they are. `slots` as below.
  absl::StatusOr<Session> ConnectOrStart(int slots = 0);
  // ConnectOrStart for a job whose workers end with the coordinator that was started. `slots`:
  // workers at once of one that is started; 0: one per core. A job that asks for more is refused,
  // as everywhere.
  absl::StatusOr<Session> ConnectOrStartForJob(int slots);

  bool IsMachineReadable() const { return output != OutputFormat::kTable; }
  // Writes `message` as JSON: indented for kJson, on one line for kJsonl.
  void PrintJson(const google::protobuf::Message& message);
  // "job-1 PAUSED", or the whole job as JSON.
  void PrintState(const v1::Job& job);

  std::string StateDir() const;

 private:
  absl::StatusOr<Session> ConnectOrStart(const client::CoordinatorProcess::Options& options);
};

// One line of JSON; fields have their proto names, unset ones are written.
std::string ToJson(const google::protobuf::Message& message, bool is_indented);

}  // namespace sotto::cli

#endif  // SOTTO_CLIENT_CLI_CONTEXT_H_
