// Datasets in memory.
#ifndef SOTTO_SERVER_API_TESTING_FAKE_DATASET_REGISTRY_H_
#define SOTTO_SERVER_API_TESTING_FAKE_DATASET_REGISTRY_H_

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/base/mutex.h"
#include "server/ledger/dataset_registry.h"

namespace sotto::api {

// Thread-safe. Answers on the calling thread.
class FakeDatasetRegistry : public ledger::DatasetRegistry {
 public:
  void Register(v1::Dataset dataset, Done<v1::Dataset> done) override {
    absl::Status status;
    {
      MutexLock lock(&mutex_);
      for (const auto& [name, other] : datasets_) {
        if (name == dataset.name() || other.sha256() == dataset.sha256()) {
          status = absl::AlreadyExistsError("registered as dataset \"" + name + "\"");
        }
      }
      if (status.ok()) datasets_[dataset.name()] = dataset;
    }
    if (!status.ok()) return done(status);
    done(std::move(dataset));
  }
  void Get(std::string name, Done<v1::Dataset> done) override { done(Find(name)); }
  void List(std::string after_name, int limit, Done<std::vector<v1::Dataset>> done) override {
    std::vector<v1::Dataset> found;
    {
      MutexLock lock(&mutex_);
      for (auto next = datasets_.upper_bound(after_name); next != datasets_.end(); ++next) {
        if (static_cast<int>(found.size()) == limit) break;
        found.push_back(next->second);
      }
    }
    done(std::move(found));
  }
  void FindContent(std::string sha256, Done<std::optional<std::string>> done) override {
    std::optional<std::string> found;
    {
      MutexLock lock(&mutex_);
      for (const auto& [name, dataset] : datasets_) {
        if (dataset.sha256() == sha256) found = name;
      }
    }
    done(std::move(found));
  }
  void CheckReserve(ledger::ReservationRequest request, Done<v1::Dataset> done) override {
    absl::Status refusal;
    {
      MutexLock lock(&mutex_);
      last_reservation_ = request;
      refusal = refusal_;
    }
    if (!refusal.ok()) return done(refusal);
    done(Find(request.dataset));
  }
  void ListEntries(std::string dataset, int64_t after_row, int limit,
                   Done<ledger::EntryPage> done) override {
    ledger::EntryPage page;
    for (int64_t row = after_row + 1; row <= 5; ++row) {
      if (static_cast<int>(page.entries.size()) == limit) {
        page.next_after_row = row - 1;
        break;
      }
      v1::LedgerEntry entry;
      entry.set_row(row);
      entry.set_dataset(dataset);
      entry.set_hash("abc");
      page.entries.push_back(entry);
    }
    done(std::move(page));
  }
  void Verify(Done<v1::VerifyLedgerResponse> done) override {
    v1::VerifyLedgerResponse verified;
    verified.set_rows(5);
    verified.set_head_hash("abc");
    done(verified);
  }

  void Put(const v1::Dataset& dataset) {
    MutexLock lock(&mutex_);
    datasets_[dataset.name()] = dataset;
  }
  void RefuseWith(absl::Status refusal) {
    MutexLock lock(&mutex_);
    refusal_ = std::move(refusal);
  }
  ledger::ReservationRequest last_reservation() {
    MutexLock lock(&mutex_);
    return last_reservation_;
  }

 private:
  absl::StatusOr<v1::Dataset> Find(const std::string& name) {
    MutexLock lock(&mutex_);
    const auto found = datasets_.find(name);
    if (found == datasets_.end()) return absl::NotFoundError("no dataset \"" + name + "\"");
    return found->second;
  }

  Mutex mutex_;
  std::map<std::string, v1::Dataset> datasets_ ABSL_GUARDED_BY(mutex_);
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);
  ledger::ReservationRequest last_reservation_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_TESTING_FAKE_DATASET_REGISTRY_H_
