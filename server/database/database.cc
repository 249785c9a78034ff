#include "server/database/database.h"

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/database/connection.h"
#include "server/database/migrate.h"
#include "server/database/reader_pool.h"
#include "server/database/writer.h"

namespace sotto::database {
namespace {

absl::Status Check(Connection& connection, const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<Row> rows, connection.Query("PRAGMA quick_check(1)", {}));
  const std::string result = rows.empty() ? "no answer" : rows[0][0].text();
  if (result == "ok") return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the database ", path, " is damaged: ", result, "; restore it from a backup"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> Database::Open(Options options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection,
                   Connection::Open(options.path, Connection::Access::kReadWrite));
  RETURN_IF_ERROR(Check(*connection, options.path));
  RETURN_IF_ERROR(Migrate(*connection, options.schemas));
  std::vector<std::unique_ptr<Connection>> readers;
  for (int i = 0; i < options.num_readers; ++i) {
    ASSIGN_OR_RETURN(std::unique_ptr<Connection> reader,
                     Connection::Open(options.path, Connection::Access::kReadOnly));
    readers.push_back(std::move(reader));
  }
  return absl::WrapUnique(
      new Database(std::make_unique<Writer>(std::move(connection), options.max_group),
                   std::make_unique<ReaderPool>(std::move(readers))));
}

Database::Database(std::unique_ptr<Writer> writer, std::unique_ptr<ReaderPool> readers)
    : writer_(std::move(writer)), readers_(std::move(readers)) {}

Database::~Database() { Stop(); }

void Database::Submit(Work work, Done done) { writer_->Submit(std::move(work), std::move(done)); }

void Database::Read(Work work, Done done) { readers_->Read(std::move(work), std::move(done)); }

void Database::Stop() {
  writer_->Stop();
  readers_->Stop();
}

}  // namespace sotto::database
