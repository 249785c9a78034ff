// sotto version: of this program and, when one runs, of the coordinator.
#include "common/base/version.h"
#include "CLI/CLI.hpp"
#include "client/cli/verbs.h"
#include "nlohmann/json.hpp"

namespace sotto::cli {
namespace {

void Version(Context& context) {
  std::string coordinator;
  if (absl::StatusOr<Session> session = context.Connect(); session.ok()) {
    absl::StatusOr<v1::GetServerInfoResponse> info = session->client->ServerInfo();
    if (info.ok()) coordinator = info->version();
  }
  if (context.IsMachineReadable()) {
    context.out << nlohmann::ordered_json{{"version", kVersion},
                                          {"coordinator_version", coordinator}}
                       .dump()
                << std::endl;
    return;
  }
  context.out << "sotto " << kVersion << "\n"
              << (coordinator.empty() ? "no coordinator" : "coordinator " + coordinator)
              << std::endl;
}

}  // namespace

void AddVersionVerb(CLI::App& app, Context& context) {
  CLI::App* verb = app.add_subcommand("version", "Print versions");
  verb->footer("Example: sotto version");
  verb->callback([&context] { Version(context); });
}

}  // namespace sotto::cli
