#include "server/api/page_token.h"

#include "common/base/status_matchers.h"

namespace sotto::api {
namespace {

TEST(PageTokenTest, SizesHaveADefaultAndALimit) {
  EXPECT_THAT(PageSize(0), IsOkAndHolds(50));
  EXPECT_THAT(PageSize(7), IsOkAndHolds(7));
  EXPECT_THAT(PageSize(5000), IsOkAndHolds(1000));
  EXPECT_THAT(PageSize(-1), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(PageTokenTest, ATokenIsBoundToItsFilter) {
  const std::string token = MakePageToken("jobs-3", "17");
  EXPECT_THAT(ReadNumberToken("jobs-3", token), IsOkAndHolds(17));
  EXPECT_THAT(ReadNumberToken("jobs", token), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ReadNumberToken("jobs-3", ""), IsOkAndHolds(0));
  EXPECT_THAT(ReadNumberToken("jobs-3", "jobs-3.x"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ReadNumberToken("jobs-3", "jobs-3.-4"), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace sotto::api
