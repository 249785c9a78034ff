#include <new>
#include <stdexcept>

#include "ATen/ops/zeros.h"
#include "common/base/status_matchers.h"
#include "gtest/gtest.h"
#include "worker/train/failure_reason.h"
#include "worker/train/torch_errors.h"

namespace sotto::train {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(TorchErrorsTest, AStatusPassesThrough) {
  EXPECT_OK(CatchTorchErrors([] { return absl::OkStatus(); }));
  EXPECT_THAT(CatchTorchErrors([] { return absl::DataLossError("kept"); }),
              StatusIs(absl::StatusCode::kDataLoss, "kept"));
}

TEST(TorchErrorsTest, ATensorErrorTellsNoValues) {
  const absl::Status status = CatchTorchErrors([] {
    at::zeros({3}).narrow(0, 0, 4711);
    return absl::OkStatus();
  });
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kInternal, Not(HasSubstr("4711"))));
}

TEST(TorchErrorsTest, RunningOutOfMemoryIsResourceExhausted) {
  EXPECT_THAT(CatchTorchErrors([]() -> absl::Status { throw std::bad_alloc(); }),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(CatchTorchErrors([]() -> absl::Status { throw std::runtime_error("secret"); }),
              StatusIs(absl::StatusCode::kInternal, Not(HasSubstr("secret"))));
}

TEST(FailureReasonTest, TravelsWithItsStatus) {
  const absl::Status status = absl::DataLossError("damaged");
  EXPECT_EQ(FailureReasonOf(status), FailureReason::kOther);
  const absl::Status marked = WithFailureReason(status, FailureReason::kInvalidCheckpoint);
  EXPECT_EQ(FailureReasonOf(marked), FailureReason::kInvalidCheckpoint);
  EXPECT_THAT(marked, StatusIs(absl::StatusCode::kDataLoss, "damaged"));
}

}  // namespace
}  // namespace sotto::train
