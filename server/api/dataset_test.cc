// Registration: what is refused, and that nothing of it is kept.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/dataset/token_file_writer.h"
#include "gmock/gmock.h"
#include "server/api/dataset_facts.h"
#include "server/api/testing/api_fixture.h"

namespace sotto::api {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class DatasetTest : public ApiFixture {
 protected:
  // A token file of `records` records.
  std::string WriteTokens(const std::string& name, int records, int32_t first_token = 1) {
    const std::string path = folder_ + "/" + name;
    auto writer = dataset::TokenFileWriter::Create(path, {.max_length = 16});
    EXPECT_OK(writer);
    for (int record = 0; record < records; ++record) {
      const std::vector<int32_t> tokens = {first_token, 2, record % 200};
      EXPECT_OK(writer->Add(tokens, {}));
    }
    EXPECT_OK(writer->Finish());
    return path;
  }
  static v1::RegisterDatasetRequest MakeRequest(const std::string& path) {
    v1::RegisterDatasetRequest request;
    request.set_name("fortunes");
    request.set_path(path);
    request.set_max_records(10);
    request.mutable_budget()->set_epsilon(8);
    request.mutable_budget()->set_delta(1e-6);
    return request;
  }
  grpc::Status Register(const v1::RegisterDatasetRequest& request, v1::Dataset* dataset = nullptr) {
    grpc::ClientContext context;
    v1::Dataset ignored;
    return ledger_->RegisterDataset(&context, request, dataset != nullptr ? dataset : &ignored);
  }
};

TEST_F(DatasetTest, AValidFileIsRegisteredWithItsFacts) {
  v1::Dataset dataset;
  const grpc::Status status = Register(MakeRequest(WriteTokens("t", 7)), &dataset);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(dataset.name(), "fortunes");
  EXPECT_EQ(dataset.max_records(), 10);
  EXPECT_EQ(dataset.vocabulary_size(), 257);
  EXPECT_EQ(dataset.max_length(), 16);
  EXPECT_EQ(dataset.sha256().size(), 64);
  EXPECT_TRUE(dataset.budgeted());
  EXPECT_EQ(dataset.budget().adjacency(), "add_or_remove_one");
  EXPECT_EQ(dataset.budget().privacy_unit(), "record");
}

TEST_F(DatasetTest, LabelsAreRegisteredWithTheirClasses) {
  const std::string path = folder_ + "/labelled";
  ASSERT_OK_AND_ASSIGN(auto writer,
                       dataset::TokenFileWriter::Create(path, {.max_length = 16, .classes = 3}));
  ASSERT_OK(writer.Add({1, 2}, {}, /*label=*/1));
  ASSERT_OK(writer.Finish());
  v1::Dataset dataset;
  const grpc::Status status = Register(MakeRequest(path), &dataset);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(dataset.classes(), 3);
  EXPECT_EQ(FactsOf(dataset).classes(), 3);
  EXPECT_TRUE(FactsOf(dataset).image_shape().empty());
}

TEST_F(DatasetTest, EveryBrokenRuleOfTheRequestIsListed) {
  v1::RegisterDatasetRequest request;
  request.set_name("Not A Name");
  request.set_path("relative");
  request.mutable_budget()->set_epsilon(std::numeric_limits<double>::quiet_NaN());
  request.mutable_budget()->set_delta(1);
  request.mutable_budget()->set_adjacency("swap_two");
  const grpc::Status status = Register(request);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  std::vector<std::string> fields;
  const auto details = DetailOf<google::rpc::BadRequest>(status);
  for (const auto& violation : details.field_violations()) {
    fields.push_back(violation.field());
  }
  EXPECT_THAT(fields, UnorderedElementsAre("name", "path", "max_records", "budget.epsilon",
                                           "budget.delta", "budget.adjacency"));
}

TEST_F(DatasetTest, ABudgetOrItsAbsenceMustBeSaid) {
  v1::RegisterDatasetRequest request = MakeRequest(WriteTokens("t", 1));
  request.clear_budget();
  EXPECT_THAT(Register(request).error_message(), HasSubstr("budget is required"));
  request.set_no_budget(true);
  v1::Dataset dataset;
  ASSERT_TRUE(Register(request, &dataset).ok());
  EXPECT_FALSE(dataset.budgeted());
}

TEST_F(DatasetTest, MissingAndForeignFilesAreRefused) {
  EXPECT_EQ(Register(MakeRequest(folder_ + "/missing")).error_code(), grpc::StatusCode::NOT_FOUND);
  ASSERT_OK(AtomicWriteFile(folder_ + "/text", std::string(1000, 'x')));
  EXPECT_EQ(Register(MakeRequest(folder_ + "/text")).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(DatasetTest, ATruncatedFileIsRefused) {
  const std::string path = WriteTokens("t", 7);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  const grpc::Status status = Register(MakeRequest(path));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("truncated"));
  grpc::ClientContext context;
  v1::ListDatasetsResponse datasets;
  ASSERT_TRUE(ledger_->ListDatasets(&context, {}, &datasets).ok());
  EXPECT_EQ(datasets.datasets_size(), 0);
}

TEST_F(DatasetTest, TokensOutOfRangeAreRefused) {
  const std::string path = WriteTokens("t", 1, /*first_token=*/42);
  ASSERT_OK_AND_ASSIGN(std::string bytes, ReadFile(path));
  // The tokens 42, 2, 0 as little-endian 16-bit numbers; 42 becomes 0x7fff.
  const size_t at = bytes.find(std::string("\x2a\0\x02\0\0\0", 6));
  ASSERT_NE(at, std::string::npos);
  bytes[at] = '\xff';
  bytes[at + 1] = '\x7f';
  ASSERT_OK(AtomicWriteFile(path, bytes));
  const grpc::Status status = Register(MakeRequest(path));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("32767"));
}

TEST_F(DatasetTest, MoreRecordsThanDeclaredAreRefused) {
  const grpc::Status status = Register(MakeRequest(WriteTokens("t", 11)));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("max_records"));
  EXPECT_THAT(status.error_message(), HasSubstr("11"));
}

TEST_F(DatasetTest, NamesAndContentsAreRegisteredOnce) {
  ASSERT_TRUE(Register(MakeRequest(WriteTokens("t", 7))).ok());
  EXPECT_EQ(Register(MakeRequest(WriteTokens("other", 3))).error_code(),
            grpc::StatusCode::ALREADY_EXISTS);
  v1::RegisterDatasetRequest same_content = MakeRequest(WriteTokens("copy", 7));
  same_content.set_name("another-name");
  EXPECT_EQ(Register(same_content).error_code(), grpc::StatusCode::ALREADY_EXISTS);
}

TEST_F(DatasetTest, CallersOverTcpMayNotRegisterAndSeeNoHash) {
  const v1::RegisterDatasetRequest request = MakeRequest(WriteTokens("t", 7));
  grpc::ClientContext refused;
  v1::Dataset dataset;
  EXPECT_EQ(remote_ledger_->RegisterDataset(&refused, request, &dataset).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  ASSERT_TRUE(Register(request).ok());
  grpc::ClientContext context;
  v1::GetDatasetRequest get;
  get.set_name("fortunes");
  ASSERT_TRUE(remote_ledger_->GetDataset(&context, get, &dataset).ok());
  EXPECT_EQ(dataset.name(), "fortunes");
  EXPECT_EQ(dataset.sha256(), "");
}

}  // namespace
}  // namespace sotto::api
