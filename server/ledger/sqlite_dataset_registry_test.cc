#include "server/ledger/sqlite_dataset_registry.h"

#include <functional>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status_matchers.h"
#include "server/ledger/testing/ledger_fixture.h"

namespace sotto::ledger {
namespace {

using ::testing::HasSubstr;

template <typename T>
absl::StatusOr<T> Wait(const std::function<void(DatasetRegistry::Done<T>)>& call) {
  std::promise<absl::StatusOr<T>> result;
  call([&result](absl::StatusOr<T> value) { result.set_value(std::move(value)); });
  return result.get_future().get();
}

class DatasetRegistryTest : public ::testing::Test, protected LedgerFixture {
 protected:
  absl::StatusOr<v1::Dataset> RegisterHere(const v1::Dataset& dataset) {
    return Wait<v1::Dataset>([&](auto done) { registry_.Register(dataset, std::move(done)); });
  }
  absl::StatusOr<v1::Dataset> Get(const std::string& name) {
    return Wait<v1::Dataset>([&](auto done) { registry_.Get(name, std::move(done)); });
  }

  SqliteDatasetRegistry registry_{*database(), ledger()};
};

TEST_F(DatasetRegistryTest, RegisteredDatasetIsGivenBackListedAndFound) {
  ASSERT_OK_AND_ASSIGN(const v1::Dataset registered, RegisterHere(MakeDataset("d")));
  EXPECT_EQ(registered.left_epsilon(), 8);
  EXPECT_EQ(registered.register_time().seconds(), absl::ToUnixSeconds(clock().Now()));
  EXPECT_EQ(Get("d")->SerializeAsString(), registered.SerializeAsString());
  ASSERT_OK_AND_ASSIGN(
      const std::vector<v1::Dataset> all,
      Wait<std::vector<v1::Dataset>>([&](auto done) { registry_.List("", 10, std::move(done)); }));
  EXPECT_EQ(all.size(), 1);
  EXPECT_THAT(Wait<std::optional<std::string>>(
                  [&](auto done) { registry_.FindContent(registered.sha256(), std::move(done)); }),
              IsOkAndHolds(std::optional<std::string>("d")));
}

TEST_F(DatasetRegistryTest, ErrorsOfTheLedgerArePassedOn) {
  ASSERT_OK(RegisterHere(MakeDataset("d")));
  EXPECT_THAT(RegisterHere(MakeDataset("d")), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(Get("e"), StatusIs(absl::StatusCode::kNotFound, HasSubstr("'e'")));
}

TEST_F(DatasetRegistryTest, CheckReserveRefusesWithTheNumbers) {
  ASSERT_OK(RegisterHere(MakeDataset("d")));
  const auto check = [&](int64_t steps) {
    return Wait<v1::Dataset>([&](auto done) {
      registry_.CheckReserve(MakeRequest("", "d", steps, ChargeThatFits(100)), std::move(done));
    });
  };
  EXPECT_OK(check(100));
  const absl::Status refused = check(101).status();
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(GetBudgetRefusal(refused)->largest_steps, 100);
}

TEST_F(DatasetRegistryTest, EntriesAndVerificationAgree) {
  ASSERT_OK(RegisterHere(MakeDataset("d")));
  ASSERT_OK_AND_ASSIGN(const EntryPage page, Wait<EntryPage>([&](auto done) {
                         registry_.ListEntries("d", 0, 10, std::move(done));
                       }));
  ASSERT_OK_AND_ASSIGN(
      const v1::VerifyLedgerResponse verified,
      Wait<v1::VerifyLedgerResponse>([&](auto done) { registry_.Verify(std::move(done)); }));
  ASSERT_EQ(page.entries.size(), 1);
  EXPECT_EQ(verified.head_hash(), page.entries[0].hash());
}

}  // namespace
}  // namespace sotto::ledger
