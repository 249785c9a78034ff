#include "client/cli/context.h"

#include <google/protobuf/util/json_util.h>

#include <filesystem>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace sotto::cli {
namespace {

constexpr absl::Duration kConnectTimeout = absl::Seconds(5);
// A socket on this host answers at once, or its coordinator is gone.
constexpr absl::Duration kProbeTimeout = absl::Seconds(1);

absl::StatusOr<std::string> PublishedAddress(const std::string& state_dir) {
  ASSIGN_OR_RETURN(std::string address, ReadFile(absl::StrCat(state_dir, "/address")));
  return std::string(absl::StripAsciiWhitespace(address));
}

}  // namespace

void Context::Finish(const absl::Status& status) {
  if (status.ok()) return;
  err << "sotto: " << status.message() << std::endl;
  exit_code = client::ExitCodeOf(status);
}

absl::StatusOr<Session> Context::Connect() {
  Session session;
  std::string target = address;
  if (target.empty()) {
    absl::StatusOr<std::string> published = PublishedAddress(StateDir());
    if (!published.ok()) {
      return absl::UnavailableError(
          absl::StrCat("no coordinator runs on ", StateDir(),
                       ": start one (`sotto-coordinator --state_dir=...`, `./dev up`), name one "
                       "with --address, or use `sotto run`"));
    }
    target = *published;
  }
  ASSIGN_OR_RETURN(session.client, client::JobClient::Connect(target, kConnectTimeout));
  return session;
}

absl::StatusOr<Session> Context::ConnectToState() {
  return std::filesystem::exists(absl::StrCat(StateDir(), "/sotto.db")) ? ConnectOrStart()
                                                                        : Connect();
}

absl::StatusOr<Session> Context::ConnectOrStart(int slots) {
  return ConnectOrStart({.state_dir = StateDir(), .slots = slots});
}

absl::StatusOr<Session> Context::ConnectOrStartForJob(int slots) {
  return ConnectOrStart({.state_dir = StateDir(), .slots = slots, .stops_workers = true});
}

absl::StatusOr<Session> Context::ConnectOrStart(
    const client::CoordinatorProcess::Options& options) {
  const auto say_slots_are_its_own = [&] {
    if (options.slots == 0) return;
    err << "note: --slots is for a coordinator that is started; the one that runs keeps its own"
        << std::endl;
  };
  if (!address.empty()) {
    say_slots_are_its_own();
    return Connect();
  }
  Session session;
  if (absl::StatusOr<std::string> published = PublishedAddress(StateDir()); published.ok()) {
    absl::StatusOr<std::unique_ptr<client::JobClient>> running =
        client::JobClient::Connect(*published, kProbeTimeout);
    if (running.ok()) {
      say_slots_are_its_own();
      session.client = *std::move(running);
      return session;
    }
  }
  ASSIGN_OR_RETURN(session.process, client::CoordinatorProcess::Start(options));
  ASSIGN_OR_RETURN(session.client,
                   client::JobClient::Connect(session.process->address(), kConnectTimeout));
  return session;
}

void Context::PrintJson(const google::protobuf::Message& message) {
  out << ToJson(message, output == OutputFormat::kJson) << std::endl;
}

void Context::PrintState(const v1::Job& job) {
  if (IsMachineReadable()) return PrintJson(job);
  out << job.id() << " " << v1::JobState_Name(job.state()) << std::endl;
}

std::string Context::StateDir() const {
  return state_dir.empty() ? client::DefaultStateDir() : state_dir;
}

std::string ToJson(const google::protobuf::Message& message, bool is_indented) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = is_indented;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  SOTTO_CHECK(status.ok()) << status.ToString();  // Our messages hold no Any that could be unknown.
  return std::string(absl::StripTrailingAsciiWhitespace(json));
}

}  // namespace sotto::cli
