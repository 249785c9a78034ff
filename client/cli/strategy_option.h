// --strategy of verbs that choose how ranks share a model.
#ifndef SOTTO_CLIENT_CLI_STRATEGY_OPTION_H_
#define SOTTO_CLIENT_CLI_STRATEGY_OPTION_H_

#include <string>

#include "absl/status/statusor.h"
#include "proto/sotto/v1/spec.pb.h"

namespace CLI {
class App;
}

namespace sotto::cli {

// `help` follows the names. Borrows `strategy` until the verb has run.
void AddStrategy(CLI::App& verb, std::string& strategy, const std::string& help = "");

// Of what the option holds; none: unspecified. INVALID_ARGUMENT: no strategy of that name.
absl::StatusOr<v1::Strategy> ParseStrategy(const std::string& name);

}  // namespace sotto::cli

#endif  // SOTTO_CLIENT_CLI_STRATEGY_OPTION_H_
