// Datasets, accounts and grants as tables. No rules here: those are the ledger's.
#ifndef SOTTO_SERVER_LEDGER_ACCOUNT_TABLE_H_
#define SOTTO_SERVER_LEDGER_ACCOUNT_TABLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/sotto/v1/ledger_service.pb.h"
#include "server/database/transaction.h"
#include "server/ledger/account.h"
#include "server/ledger/granted_steps.h"

namespace sotto::ledger {

// Errors are the database's, and DATA_LOSS for rows that cannot be read.

absl::Status InsertDataset(database::Transaction& transaction, const v1::Dataset& dataset);
// As registered, without balances. NOT_FOUND.
absl::StatusOr<v1::Dataset> ReadDataset(database::Transaction& transaction, absl::string_view name);
// By name, after `after_name`.
absl::StatusOr<std::vector<v1::Dataset>> ReadDatasets(database::Transaction& transaction,
                                                      absl::string_view after_name, int limit);

absl::Status InsertAccount(database::Transaction& transaction, const Account& account);
// Everything but job, dataset, charge and reserved, which never change.
absl::Status UpdateAccount(database::Transaction& transaction, const Account& account);
// NOT_FOUND.
absl::StatusOr<Account> ReadAccount(database::Transaction& transaction, absl::string_view job);
// In the order of their admission.
absl::StatusOr<std::vector<Account>> ReadAccountsOf(database::Transaction& transaction,
                                                    absl::string_view dataset);

absl::Status InsertGrant(database::Transaction& transaction, absl::string_view job, int64_t attempt,
                         const GrantedSteps& grant);
// Ascending.
absl::StatusOr<std::vector<GrantedSteps>> ReadGrants(database::Transaction& transaction,
                                                     absl::string_view job, int64_t attempt);

}  // namespace sotto::ledger

#endif  // SOTTO_SERVER_LEDGER_ACCOUNT_TABLE_H_
