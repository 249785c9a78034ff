#include "worker/attempt_secret.h"

#include <string>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto {
namespace {

using ::testing::HasSubstr;

std::string BytesOf(const crypto::Secret& secret) {
  return std::string(secret.bytes().begin(), secret.bytes().end());
}

// What a coordinator that was restarted sends is empty: nobody may learn the noise from that.
TEST(AttemptSecretTest, PrivateJobsNeedTheirSecret) {
  v1::JobPlan plan;
  plan.mutable_spec()->mutable_privacy()->set_seed(7);
  for (const size_t bytes : {0, 1, 31, 33, 64}) {
    EXPECT_THAT(ChooseSecret(plan, std::string(bytes, 's')),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("fresh one")))
        << bytes << " bytes";
  }
  const std::string welcome = "0123456789abcdef0123456789ABCDEF";
  ASSERT_OK_AND_ASSIGN(const crypto::Secret secret, ChooseSecret(plan, welcome));
  EXPECT_EQ(BytesOf(secret), welcome);
}

TEST(AttemptSecretTest, JobsThatPromiseNothingHaveTheirSeed) {
  v1::JobPlan plan;
  plan.mutable_privacy()->set_not_private(true);
  plan.mutable_spec()->mutable_privacy()->set_seed(7);
  ASSERT_OK_AND_ASSIGN(const crypto::Secret secret, ChooseSecret(plan, ""));
  EXPECT_EQ(BytesOf(secret), BytesOf(crypto::Secret::FromPublicSeed(7)));
}

}  // namespace
}  // namespace sotto
