// The dependency rules between packages, as a table: what the design allows, and nothing else.
#ifndef SOTTO_TESTS_ARCHITECTURE_DEPENDENCY_TABLE_H_
#define SOTTO_TESTS_ARCHITECTURE_DEPENDENCY_TABLE_H_

#include <string>
#include <vector>

namespace sotto::architecture {

// One package and everything it may use besides the standard library, Abseil, common/base and
// itself.
struct PackageRule {
  std::string package;
  // Names of external libraries ("torch", "grpc", "proto", ...), packages ("common/layout", with
  // all their subpackages), or single headers ("worker/dp/noised_metrics.h").
  std::vector<std::string> allowed;
  // No files, descriptors, sockets, threads or clocks.
  bool is_pure = false;
};

// The rule of the package that holds `path` ("server/ledger/x.cc"), the longest match; null for
// composition roots, tests, tools and benchmarks, which may use anything.
const PackageRule* FindRule(const std::vector<PackageRule>& table, const std::string& path);

const std::vector<PackageRule>& DependencyTable();

}  // namespace sotto::architecture

#endif  // SOTTO_TESTS_ARCHITECTURE_DEPENDENCY_TABLE_H_
