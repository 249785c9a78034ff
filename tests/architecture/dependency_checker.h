// Reads includes of sources and labels of BUILD files, and says which of them break the dependency
// table.
#ifndef SOTTO_TESTS_ARCHITECTURE_DEPENDENCY_CHECKER_H_
#define SOTTO_TESTS_ARCHITECTURE_DEPENDENCY_CHECKER_H_

#include <string>
#include <vector>

#include "tests/architecture/dependency_table.h"

namespace sotto::architecture {

// What an include or a label leads to.
struct Dependency {
  enum class Kind {
    kFree,      // the standard library, Abseil
    kSystem,    // POSIX, threads, files, clocks: not for pure packages
    kExternal,  // `name` is the library
    kProject,   // `name` is a path from the repository's root
    kUnknown,   // `name` is what was written
  };
  Kind kind;
  std::string name;
};

// `text` is what stands between the quotes or angle brackets of #include.
Dependency ClassifyInclude(const std::string& text);

// `label` is a Bazel label as written in deps: "//common/base:log", "@torch", ":sibling".
Dependency ClassifyLabel(const std::string& label);

// One line per broken rule, each naming `path`, the dependency and the package; empty when all is
// well.
std::vector<std::string> CheckSource(const PackageRule& rule, const std::string& path,
                                     const std::string& contents);
// Looks at libraries and binaries that are not testonly.
std::vector<std::string> CheckBuildFile(const PackageRule& rule, const std::string& path,
                                        const std::string& contents);

}  // namespace sotto::architecture

#endif  // SOTTO_TESTS_ARCHITECTURE_DEPENDENCY_CHECKER_H_
