// sotto ledger: what was charged, and whether the chain holds.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "client/cli/table.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"

namespace sotto::cli {
namespace {

absl::Status Show(const std::string& dataset, Context& context) {
  ASSIGN_OR_RETURN(Session session, context.ConnectOrStart());
  Table table({"ROW", "TIME", "KIND", "DATASET", "JOB", "ATTEMPT", "STEPS", "RANGE", "HASH"});
  v1::ListChargesRequest request;
  request.set_dataset(dataset);
  v1::ListChargesResponse all;
  do {
    ASSIGN_OR_RETURN(const v1::ListChargesResponse page, session.client->ListCharges(request));
    for (const v1::LedgerEntry& entry : page.entries()) {
      table.AddRow(
          {absl::StrCat(entry.row()),
           absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(entry.time().seconds()),
                            absl::LocalTimeZone()),
           v1::LedgerEntry::Kind_Name(entry.kind()), entry.dataset(), entry.job(),
           absl::StrCat(entry.attempt()), absl::StrCat(entry.steps()),
           entry.end_step() > entry.first_step()
               ? absl::StrCat("[", entry.first_step(), ", ", entry.end_step(), ")")
               : "",
           entry.hash().substr(0, 12)});
      if (context.output == OutputFormat::kJsonl) context.PrintJson(entry);
      *all.add_entries() = entry;
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (context.output == OutputFormat::kJson) context.PrintJson(all);
  if (!context.IsMachineReadable()) context.out << table.ToString() << std::flush;
  return absl::OkStatus();
}

absl::Status Verify(Context& context) {
  ASSIGN_OR_RETURN(Session session, context.ConnectOrStart());
  ASSIGN_OR_RETURN(const v1::VerifyLedgerResponse verified, session.client->VerifyLedger());
  if (context.IsMachineReadable()) {
    context.PrintJson(verified);
    return absl::OkStatus();
  }
  context.out << absl::StrFormat("%d rows, chain and balances hold; head %s\n", verified.rows(),
                                 verified.head_hash());
  for (const v1::Dataset& dataset : verified.datasets()) {
    if (!dataset.budgeted()) continue;
    context.out << absl::StrFormat(
        "%s: epsilon %.4g spent, %.4g with reservations, of %.4g at delta %.3g\n", dataset.name(),
        dataset.spent_epsilon(), dataset.reserved_epsilon(), dataset.budget().epsilon(),
        dataset.budget().delta());
  }
  context.out << std::flush;
  return absl::OkStatus();
}

}  // namespace

void AddLedgerVerb(CLI::App& app, Context& context) {
  CLI::App* ledger = app.add_subcommand("ledger", "The ledger of privacy charges");
  ledger->require_subcommand(1);
  auto dataset = std::make_shared<std::string>();
  CLI::App* show = ledger->add_subcommand("show", "List the ledger's rows");
  show->footer("Example: sotto ledger show --dataset notes");
  show->add_option("--dataset", *dataset, "only this dataset's");
  show->callback([dataset, &context] { context.Finish(Show(*dataset, context)); });
  CLI::App* verify = ledger->add_subcommand("verify", "Recompute the hash chain and the balances");
  verify->footer("Example: sotto ledger verify");
  verify->callback([&context] { context.Finish(Verify(context)); });
}

}  // namespace sotto::cli
