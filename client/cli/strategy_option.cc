#include "client/cli/strategy_option.h"

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"

namespace sotto::cli {
namespace {

constexpr char kNames[] = "FULL_SHARD, SHARD_GRAD_OP, HYBRID_SHARD or NO_SHARD";

}  // namespace

void AddStrategy(CLI::App& verb, std::string& strategy, const std::string& help) {
  verb.add_option("--strategy", strategy, absl::StrCat(kNames, help));
}

absl::StatusOr<v1::Strategy> ParseStrategy(const std::string& name) {
  v1::Strategy strategy = v1::STRATEGY_UNSPECIFIED;
  if (name.empty() || v1::Strategy_Parse(name, &strategy)) return strategy;
  return absl::InvalidArgumentError(absl::StrCat("--strategy must be ", kNames, ", but is ", name));
}

}  // namespace sotto::cli
