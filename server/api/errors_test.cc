#include "server/api/errors.h"

#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "gtest/gtest.h"
#include "server/api/caller.h"
#include "server/ledger/budget_refusal.h"

namespace sotto::api {
namespace {

google::rpc::Status DetailsOf(const grpc::Status& status) {
  google::rpc::Status details;
  EXPECT_TRUE(details.ParseFromString(status.error_details()));
  return details;
}

TEST(ErrorsTest, ReasonAndMetadataBecomeAnErrorInfo) {
  const grpc::Status status = ToGrpcStatus(
      WithReason(absl::OutOfRangeError("too old"), "CURSOR_COMPACTED", {{"oldest_sequence", "7"}}));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(status.error_message(), "too old");
  google::rpc::ErrorInfo info;
  ASSERT_EQ(DetailsOf(status).details_size(), 1);
  ASSERT_TRUE(DetailsOf(status).details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "CURSOR_COMPACTED");
  EXPECT_EQ(info.domain(), "sotto");
  EXPECT_EQ(info.metadata().at("oldest_sequence"), "7");
}

TEST(ErrorsTest, EveryViolationIsADetailAndInTheMessage) {
  const grpc::Status status =
      ToGrpcStatus(BadRequestError({{"name", "must be short"}, {"path", "must be absolute"}}));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(status.error_message(), "name must be short\npath must be absolute");
  google::rpc::BadRequest request;
  ASSERT_TRUE(DetailsOf(status).details(0).UnpackTo(&request));
  ASSERT_EQ(request.field_violations_size(), 2);
  EXPECT_EQ(request.field_violations(1).field(), "path");
}

TEST(ErrorsTest, ABudgetRefusalCarriesItsNumbers) {
  ledger::BudgetRefusal refusal;
  refusal.dataset = "fortunes";
  refusal.budget_epsilon = 8;
  refusal.requested_steps = 100;
  refusal.largest_steps = 40;
  const grpc::Status status = ToGrpcStatus(ledger::BudgetRefusedError(refusal));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  google::rpc::ErrorInfo info;
  ASSERT_EQ(DetailsOf(status).details_size(), 1);
  ASSERT_TRUE(DetailsOf(status).details(0).UnpackTo(&info));
  EXPECT_EQ(info.reason(), "BUDGET_EXCEEDED");
  EXPECT_EQ(info.metadata().at("dataset"), "fortunes");
  EXPECT_EQ(info.metadata().at("budget_epsilon"), "8");
  EXPECT_EQ(info.metadata().at("largest_steps"), "40");
}

TEST(ErrorsTest, PayloadsOfOtherKindsStayInside) {
  absl::Status status = absl::InternalError("broken");
  status.SetPayload("sotto/secret", absl::Cord("inside"));
  EXPECT_EQ(ToGrpcStatus(status).error_details(), "");
}

TEST(CallerTest, OnlyUnixSocketsHoldEveryRole) {
  EXPECT_EQ(RoleOfPeer("unix:"), Role::kEveryRole);
  EXPECT_EQ(RoleOfPeer("unix:/tmp/sotto-x/socket"), Role::kEveryRole);
  for (const char* peer :
       {"ipv4:127.0.0.1:5000", "ipv6:[::1]:5000", "inproc", "", "ipv4:unix:", "unix-abstract:x"}) {
    EXPECT_EQ(RoleOfPeer(peer), Role::kReader) << peer;
  }
}

}  // namespace
}  // namespace sotto::api
