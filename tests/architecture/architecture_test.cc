// The rules of the tree, checked over the sources themselves. The test reads the checkout, not its
// runfiles: a file that no target names is checked too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/architecture/dependency_checker.h"
#include "tests/architecture/dependency_table.h"

namespace sotto::architecture {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;

constexpr int kMaxLines = 400;

struct SourceFile {
  std::string path;  // from the repository's root
  std::string contents;
};

fs::path RepositoryRoot() { return fs::canonical("WORKSPACE").parent_path(); }

std::string ReadText(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

bool IsCode(const fs::path& path) {
  static const std::set<std::string> extensions = {".cc", ".h", ".cu", ".cuh"};
  return extensions.count(path.extension()) > 0;
}

// Every C++ source and BUILD file under the code's top folders.
const std::vector<SourceFile>& Sources() {
  static const auto& sources = *[] {
    auto* found = new std::vector<SourceFile>;
    const fs::path root = RepositoryRoot();
    for (const char* top :
         {"common", "kernels", "server", "worker", "client", "tests", "tools", "bench"}) {
      if (!fs::exists(root / top)) continue;
      for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
        if (!entry.is_regular_file()) continue;
        if (!IsCode(entry.path()) && entry.path().filename() != "BUILD") continue;
        found->push_back({fs::relative(entry.path(), root), ReadText(entry.path())});
      }
    }
    return found;
  }();
  return sources;
}

bool Contains(const std::string& path, const std::string& part) {
  return path.find(part) != std::string::npos;
}

// Tests, their helpers and benchmarks may use anything.
bool IsProduction(const std::string& path) {
  static const std::regex other(
      R"(.*(_test|_benchmark|_conformance|_suite|_matchers)\.(cc|h|cu)|.*/testing/.*|(tests|tools|bench)/.*)");
  return !std::regex_match(path, other);
}

TEST(ArchitectureTest, SourcesAreFound) {
  EXPECT_GT(Sources().size(), 20u);
  for (const PackageRule& rule : DependencyTable()) {
    if (rule.package == "kernels/cuda") continue;  // Comes with the GPU.
    const bool exists = std::any_of(Sources().begin(), Sources().end(), [&](const auto& source) {
      return source.path.rfind(rule.package + "/", 0) == 0;
    });
    EXPECT_TRUE(exists) << rule.package << " stands in the table but not in the tree";
  }
}

TEST(ArchitectureTest, PackagesUseOnlyWhatTheTableAllows) {
  std::vector<std::string> complaints;
  for (const SourceFile& source : Sources()) {
    const PackageRule* rule = FindRule(DependencyTable(), source.path);
    if (rule == nullptr || !IsProduction(source.path)) continue;
    const auto found = IsCode(source.path) ? CheckSource(*rule, source.path, source.contents)
                                           : CheckBuildFile(*rule, source.path, source.contents);
    complaints.insert(complaints.end(), found.begin(), found.end());
  }
  EXPECT_THAT(complaints, IsEmpty());
}

TEST(ArchitectureTest, EveryPackageStandsInTheTable) {
  // Besides the composition roots, which lie in server/ and worker/ themselves.
  for (const SourceFile& source : Sources()) {
    if (!IsProduction(source.path)) continue;
    const std::string folder = fs::path(source.path).parent_path();
    if (folder == "server" || folder == "worker" || folder == "tools") continue;
    EXPECT_NE(FindRule(DependencyTable(), source.path), nullptr) << source.path;
  }
}

TEST(ArchitectureTest, FilesHaveAtMost400Lines) {
  for (const SourceFile& source : Sources()) {
    if (!IsCode(source.path)) continue;
    const auto lines = std::count(source.contents.begin(), source.contents.end(), '\n');
    EXPECT_LE(lines, kMaxLines) << source.path;
  }
}

TEST(ArchitectureTest, FlagsAreReadOnlyInMain) {
  static const std::regex flags(R"(#include\s*["<](absl/flags/|CLI/)|getopt)");
  for (const SourceFile& source : Sources()) {
    if (!IsCode(source.path) || source.path.rfind("tests/architecture/", 0) == 0) continue;
    if (fs::path(source.path).filename() == "main.cc") continue;
    if (source.path.rfind("client/cli/", 0) == 0 || !IsProduction(source.path)) continue;
    EXPECT_FALSE(std::regex_search(source.contents, flags)) << source.path;
  }
}

TEST(ArchitectureTest, TheExecutorIsTheOnlyInterpreterOfTheSchedule) {
  for (const SourceFile& source : Sources()) {
    if (!IsCode(source.path) || !IsProduction(source.path)) continue;
    if (Contains(source.path, "common/layout/") || Contains(source.path, "worker/train/executor")) {
      continue;
    }
    EXPECT_FALSE(Contains(source.contents, "case layout::Operation::kReshard") ||
                 Contains(source.contents, "case layout::OperationKind::kReshard"))
        << source.path;
  }
}

// Names come from specs, or are constants of common/layout/known_modes.h.
TEST(ArchitectureTest, ModesAreNamedInTheirTableAlone) {
  static const std::regex name(
      R"x("(no_dp|(ghost|flash)(_fsdp)?(_fuse)?(_bk)?|per_example|auto)")x");
  int names_in_table = 0;
  for (const SourceFile& source : Sources()) {
    if (!IsCode(source.path) || !IsProduction(source.path)) continue;
    const bool is_table = source.path == "common/layout/gradient_mode.h" ||
                          source.path == "common/layout/known_modes.h";
    for (std::sregex_iterator match(source.contents.begin(), source.contents.end(), name), end;
         match != end; ++match) {
      names_in_table += is_table ? 1 : 0;
      const size_t begin = source.contents.rfind('\n', match->position()) + 1;
      const bool is_comment = source.contents.compare(begin, 2, "//") == 0;
      EXPECT_TRUE(is_table || is_comment) << source.path << ": " << match->str();
    }
  }
  EXPECT_GE(names_in_table, 15);  // the expression finds them
}

TEST(ArchitectureTest, TestsDoNotSleepAndDoNotTurnThemselvesOff) {
  static const std::regex forbidden(R"(sleep_for|SleepFor\(|usleep\(|DISABLED_[A-Z])");
  for (const SourceFile& source : Sources()) {
    if (!IsCode(source.path) || source.path.rfind("tests/architecture/", 0) == 0) continue;
    if (IsProduction(source.path)) continue;
    std::smatch match;
    EXPECT_FALSE(std::regex_search(source.contents, match, forbidden))
        << source.path << ": " << match.str();
  }
}

TEST(ArchitectureTest, EveryTestStatesItsSize) {
  static const std::regex test(R"((^|\n)sotto_cc_test\(([^)]*)\))");
  for (const SourceFile& source : Sources()) {
    if (fs::path(source.path).filename() != "BUILD") continue;
    for (std::sregex_iterator call(source.contents.begin(), source.contents.end(), test), end;
         call != end; ++call) {
      EXPECT_TRUE(Contains((*call)[2], "size = ")) << source.path << (*call)[2];
    }
  }
}

TEST(ArchitectureTest, HeadersAreGuardedByTheirPath) {
  for (const SourceFile& source : Sources()) {
    if (fs::path(source.path).extension() != ".h") continue;
    std::string guard = "SOTTO_" + source.path + "_";
    for (char& c : guard) {
      c = std::isalnum(static_cast<unsigned char>(c)) ? std::toupper(c) : '_';
    }
    EXPECT_TRUE(Contains(source.contents, "#ifndef " + guard)) << source.path;
  }
}

}  // namespace
}  // namespace sotto::architecture
