#include "tests/architecture/dependency_checker.h"

#include <algorithm>
#include <array>
#include <regex>
#include <sstream>
#include <utility>

namespace sotto::architecture {
namespace {

using Kind = Dependency::Kind;

bool StartsWith(const std::string& text, const std::string& prefix) {
  return text.rfind(prefix, 0) == 0;
}

// Beginnings of include paths, in the order in which they are tried.
constexpr std::array<std::pair<const char*, const char*>, 29> kExternalIncludes = {{
    {"ATen/", "torch"},       {"c10/", "torch"},
    {"torch/", "torch"},      {"caffe2/", "torch"},
    {"grpcpp/", "grpc"},      {"grpc/", "grpc"},
    {"grpc++/", "grpc"},      {"google/protobuf/", "proto"},
    {"google/rpc/", "proto"}, {"proto/sotto/", "proto"},
    {"sqlite3", "sqlite"},    {"openssl/", "openssl"},
    {"nlohmann/", "json"},    {"yaml-cpp/", "yaml"},
    {"spdlog/", "spdlog"},    {"fmt/", "spdlog"},
    {"CLI/", "cli11"},        {"httplib", "http"},
    {"prometheus/", "http"},  {"gtest/", "gtest"},
    {"gmock/", "gtest"},      {"benchmark/", "benchmark"},
    {"cuda_runtime", "cuda"}, {"cuda_bf16", "cuda"},
    {"cuda.h", "cuda"},       {"cuda_fp16", "cuda"},
    {"cublas", "cuda"},       {"nccl", "nccl"},
    {"mma.h", "cuda"},
}};

// External repositories, by the library that the table names; "" means free for all.
constexpr std::array<std::pair<const char*, const char*>, 19> kRepositories = {{
    {"absl", ""},           {"benchmark", "benchmark"}, {"bazel_tools", ""},
    {"cli11", "cli11"},     {"cuda", "cuda"},           {"googleapis", "proto"},
    {"grpc", "grpc"},       {"gtest", "gtest"},         {"httplib", "http"},
    {"nccl", "nccl"},       {"nlohmann_json", "json"},  {"openssl", "openssl"},
    {"prometheus", "http"}, {"protobuf", "proto"},      {"spdlog", "spdlog"},
    {"sqlite", "sqlite"},   {"torch", "torch"},         {"yaml_cpp", "yaml"},
    {"sotto", "unknown"},
}};

// Standard headers that reach outside the program's own memory.
bool IsSystemHeader(const std::string& text) {
  static const std::regex pattern(
      R"((fstream|filesystem|thread|mutex|shared_mutex|condition_variable|future|chrono|ctime|cstdio|iostream|random|stop_token|semaphore|barrier|latch|[^/]*\.h|sys/.*|linux/.*|netinet/.*|arpa/.*))");
  static const std::regex harmless(
      R"((immintrin\.h|emmintrin\.h|xmmintrin\.h|x86intrin\.h|cpuid\.h|stdint\.h|math\.h|string\.h))");
  return std::regex_match(text, pattern) && !std::regex_match(text, harmless);
}

bool IsAllowed(const PackageRule& rule, const Dependency& dependency) {
  switch (dependency.kind) {
    case Kind::kFree:
      return true;
    case Kind::kSystem:
      return !rule.is_pure;
    case Kind::kUnknown:
      return false;
    case Kind::kExternal:
    case Kind::kProject:
      break;
  }
  const std::string& name = dependency.name;
  if (StartsWith(name, rule.package + "/")) return true;
  if (StartsWith(name, "common/base/")) {
    // Pure packages use what touches nothing outside the program.
    return !rule.is_pure || StartsWith(name, "common/base/status_macros") ||
           StartsWith(name, "common/base/schedule") || StartsWith(name, "common/base/log");
  }
  return std::any_of(rule.allowed.begin(), rule.allowed.end(), [&](const std::string& allowed) {
    // A label has no ".h": the target of a header is named after it.
    const std::string stem = allowed.substr(0, allowed.rfind(".h"));
    return name == allowed || name == stem || StartsWith(name, allowed + "/");
  });
}

std::string Complaint(const PackageRule& rule, const std::string& path,
                      const std::string& dependency) {
  return path + ": " + rule.package + " may not use " + dependency;
}

// The top-level calls of a BUILD file. Each begins in the first column and ends with ")" there.
std::vector<std::string> SplitCalls(const std::string& contents) {
  std::vector<std::string> calls;
  std::istringstream lines(contents);
  std::string line;
  while (std::getline(lines, line)) {
    if (!line.empty() && std::isalpha(static_cast<unsigned char>(line[0]))) calls.emplace_back();
    const size_t comment = line.find('#');
    if (!calls.empty()) calls.back() += line.substr(0, comment) + "\n";
  }
  return calls;
}

}  // namespace

Dependency ClassifyInclude(const std::string& text) {
  if (StartsWith(text, "absl/")) return {Kind::kFree, text};
  for (const auto& [prefix, library] : kExternalIncludes) {
    if (StartsWith(text, prefix)) return {Kind::kExternal, library};
  }
  static const std::regex project(R"((common|server|worker|kernels|client|tests|tools|bench)/.*)");
  if (std::regex_match(text, project)) return {Kind::kProject, text};
  if (IsSystemHeader(text)) return {Kind::kSystem, text};
  if (text.find('/') == std::string::npos) return {Kind::kFree, text};
  return {Kind::kUnknown, text};
}

Dependency ClassifyLabel(const std::string& label) {
  if (StartsWith(label, ":")) return {Kind::kFree, label};
  if (StartsWith(label, "@")) {
    const std::string repository = label.substr(1, label.find("//") - 1);
    for (const auto& [name, library] : kRepositories) {
      if (repository != name) continue;
      return {*library == '\0' ? Kind::kFree : Kind::kExternal, library};
    }
    return {Kind::kUnknown, label};
  }
  if (StartsWith(label, "//proto/")) return {Kind::kExternal, "proto"};
  std::string path = label.substr(2);
  const size_t colon = path.find(':');
  if (colon == std::string::npos) {
    path += path.substr(path.rfind('/'));
  } else {
    path[colon] = '/';
  }
  return {Kind::kProject, path};
}

std::vector<std::string> CheckSource(const PackageRule& rule, const std::string& path,
                                     const std::string& contents) {
  static const std::regex include(R"re(^\s*#\s*include\s*[<"]([^>"]+)[>"])re");
  std::vector<std::string> complaints;
  std::istringstream lines(contents);
  std::string line;
  std::smatch match;
  while (std::getline(lines, line)) {
    if (!std::regex_search(line, match, include)) continue;
    Dependency dependency = ClassifyInclude(match[1]);
    // Services are not messages: their generated code brings gRPC.
    if (match[1].str().find(".grpc.pb.h") != std::string::npos) dependency.name = "grpc";
    if (!IsAllowed(rule, dependency)) complaints.push_back(Complaint(rule, path, match[1]));
  }
  return complaints;
}

std::vector<std::string> CheckBuildFile(const PackageRule& rule, const std::string& path,
                                        const std::string& contents) {
  static const std::regex production(R"(^(sotto_)?cc_(library|binary)\()");
  static const std::regex testing(R"(testonly\s*=\s*(True|1))");
  static const std::regex deps(R"(deps\s*=\s*\[([^\]]*)\])");
  static const std::regex quoted(R"re("([^"]+)")re");
  std::vector<std::string> complaints;
  for (const std::string& call : SplitCalls(contents)) {
    if (!std::regex_search(call, production) || std::regex_search(call, testing)) continue;
    if (call.find("_benchmark\"") != std::string::npos) continue;
    std::smatch list;
    if (!std::regex_search(call, list, deps)) continue;
    const std::string labels = list[1];
    for (std::sregex_iterator label(labels.begin(), labels.end(), quoted), end; label != end;
         ++label) {
      Dependency dependency = ClassifyLabel((*label)[1]);
      if ((*label)[1].str().find("_grpc") != std::string::npos) dependency.name = "grpc";
      if (!IsAllowed(rule, dependency)) complaints.push_back(Complaint(rule, path, (*label)[1]));
    }
  }
  return complaints;
}

}  // namespace sotto::architecture
