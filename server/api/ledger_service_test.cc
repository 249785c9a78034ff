#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "server/api/testing/api_fixture.h"

namespace sotto::api {
namespace {

using ::testing::ElementsAre;

class LedgerServiceTest : public ApiFixture {};

TEST_F(LedgerServiceTest, DatasetsAreListedPageByPage) {
  for (const char* name : {"c", "a", "e", "b", "d"}) {
    v1::Dataset dataset;
    dataset.set_name(name);
    datasets_.Put(dataset);
  }
  std::vector<std::string> names;
  v1::ListDatasetsRequest request;
  request.set_page_size(2);
  do {
    grpc::ClientContext context;
    v1::ListDatasetsResponse response;
    ASSERT_TRUE(ledger_->ListDatasets(&context, request, &response).ok());
    EXPECT_LE(response.datasets_size(), 2);
    for (const v1::Dataset& dataset : response.datasets()) names.push_back(dataset.name());
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(names, ElementsAre("a", "b", "c", "d", "e"));
}

TEST_F(LedgerServiceTest, ChargesAreListedPageByPageAndHashesStayLocal) {
  std::vector<int64_t> rows;
  v1::ListChargesRequest request;
  request.set_dataset("fortunes");
  request.set_page_size(2);
  do {
    grpc::ClientContext context;
    v1::ListChargesResponse response;
    ASSERT_TRUE(ledger_->ListCharges(&context, request, &response).ok());
    for (const v1::LedgerEntry& entry : response.entries()) {
      rows.push_back(entry.row());
      EXPECT_EQ(entry.hash(), "abc");
    }
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(rows, ElementsAre(1, 2, 3, 4, 5));

  grpc::ClientContext context;
  v1::ListChargesResponse response;
  ASSERT_TRUE(remote_ledger_->ListCharges(&context, request, &response).ok());
  ASSERT_GT(response.entries_size(), 0);
  EXPECT_EQ(response.entries(0).hash(), "");
}

TEST_F(LedgerServiceTest, VerifyAnswersTheHead) {
  grpc::ClientContext context;
  v1::VerifyLedgerResponse verified;
  ASSERT_TRUE(ledger_->VerifyLedger(&context, {}, &verified).ok());
  EXPECT_EQ(verified.rows(), 5);
  EXPECT_EQ(verified.head_hash(), "abc");
}

TEST_F(LedgerServiceTest, UnknownDatasetsAreNotFound) {
  grpc::ClientContext context;
  v1::GetDatasetRequest request;
  request.set_name("nothing");
  v1::Dataset dataset;
  EXPECT_EQ(ledger_->GetDataset(&context, request, &dataset).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

}  // namespace
}  // namespace sotto::api
