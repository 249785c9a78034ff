#include "tests/architecture/dependency_checker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sotto::architecture {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const PackageRule kPure = {"common/layout", {}, /*is_pure=*/true};
const PackageRule kControl = {"worker/control", {"grpc", "proto", "worker/dp/noised_metrics.h"}};

TEST(DependencyCheckerTest, AllowedIncludesPass) {
  EXPECT_THAT(CheckSource(kControl, "worker/control/x.cc",
                          "#include \"worker/control/x.h\"\n#include <grpcpp/grpcpp.h>\n"
                          "#include <thread>\n#include <unistd.h>\n#include <vector>\n"
                          "#include \"absl/status/status.h\"\n#include \"common/base/log.h\"\n"
                          "#include \"proto/sotto/v1/worker_service.grpc.pb.h\"\n"
                          "#include \"worker/dp/noised_metrics.h\"\n"),
              IsEmpty());
}

TEST(DependencyCheckerTest, ForbiddenIncludesAreNamed) {
  EXPECT_THAT(CheckSource(kControl, "worker/control/x.cc",
                          "#include <ATen/core/Tensor.h>\n#include \"worker/dp/clipping.h\"\n"
                          "#include \"server/ledger/ledger.h\"\n#include <sqlite3.h>\n"
                          "#include \"unheard/of.h\"\n"),
              ElementsAre(HasSubstr("ATen/core/Tensor.h"), HasSubstr("worker/dp/clipping.h"),
                          HasSubstr("server/ledger/ledger.h"), HasSubstr("sqlite3.h"),
                          HasSubstr("unheard/of.h")));
}

TEST(DependencyCheckerTest, PurePackagesHaveNoFilesThreadsOrClocks) {
  EXPECT_THAT(CheckSource(kPure, "common/layout/x.cc",
                          "#include <cmath>\n#include <fstream>\n#include <thread>\n"
                          "#include <unistd.h>\n#include \"common/base/clock.h\"\n"
                          "#include \"common/base/status_macros.h\"\n"),
              ElementsAre(HasSubstr("fstream"), HasSubstr("thread"), HasSubstr("unistd.h"),
                          HasSubstr("clock.h")));
}

TEST(DependencyCheckerTest, ServicesAreNotMessages) {
  const PackageRule rule = {"server/store", {"proto"}};
  EXPECT_THAT(CheckSource(rule, "server/store/x.cc", "#include \"proto/sotto/v1/job.pb.h\"\n"),
              IsEmpty());
  EXPECT_THAT(CheckSource(rule, "server/store/x.cc", "#include \"proto/sotto/v1/job.grpc.pb.h\"\n"),
              ElementsAre(HasSubstr("job.grpc.pb.h")));
  EXPECT_THAT(
      CheckBuildFile(rule, "server/store/BUILD",
                     "sotto_cc_library(\n    deps = [\n        \"//proto/sotto/v1:job_proto\",\n"
                     "        \"//proto/sotto/v1:job_service_grpc\",\n    ],\n)\n"),
      ElementsAre(HasSubstr("job_service_grpc")));
}

TEST(DependencyCheckerTest, BuildFilesAreCheckedOutsideTests) {
  constexpr char kBuild[] = R"(# Purpose.
load("//bazel:defs.bzl", "sotto_cc_library")

sotto_cc_library(
    name = "x",
    deps = [
        ":y",
        "//common/base:log",
        "//worker/dp:noised_metrics",
        "//worker/dp:clipping",  # not this one
        "@absl//:strings",
        "@torch",
    ],
)

sotto_cc_test(
    name = "x_test",
    deps = ["@sqlite"],
)

sotto_cc_library(
    name = "fake",
    testonly = True,
    deps = ["@sqlite"],
)
)";
  EXPECT_THAT(CheckBuildFile(kControl, "worker/control/BUILD", kBuild),
              ElementsAre(HasSubstr("//worker/dp:clipping"), HasSubstr("@torch")));
}

TEST(DependencyTableTest, TheLongestPackageRules) {
  const std::vector<PackageRule> table = {{"kernels", {}}, {"kernels/cuda", {"cuda"}}};
  EXPECT_EQ(FindRule(table, "kernels/cuda/x.cu"), &table[1]);
  EXPECT_EQ(FindRule(table, "kernels/cpu/x.cc"), &table[0]);
  EXPECT_EQ(FindRule(table, "server/main.cc"), nullptr);
}

}  // namespace
}  // namespace sotto::architecture
