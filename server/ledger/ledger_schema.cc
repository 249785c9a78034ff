#include "server/ledger/ledger_schema.h"

namespace sotto::ledger {
namespace {

// `entry` is a v1::LedgerEntry without its hashes, `dataset` in `datasets` a v1::Dataset, `charge`
// a v1::LedgerEntry with a step's charge. `head` is the newest row, so that a cut-off end shows.
// The triggers guard against our own mistakes; whoever can write the file can drop them, which is
// what the hashes are for.
constexpr char kVersion1[] = R"sql(
CREATE TABLE entries (
  row INTEGER PRIMARY KEY,
  dataset TEXT NOT NULL,
  entry BLOB NOT NULL,
  hash BLOB NOT NULL
) STRICT;
CREATE INDEX entries_of_dataset ON entries (dataset, row);
CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON entries
BEGIN SELECT RAISE (ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_are_not_deleted BEFORE DELETE ON entries
BEGIN SELECT RAISE (ABORT, 'the ledger is append-only'); END;
CREATE TABLE head (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  rows INTEGER NOT NULL,
  hash BLOB NOT NULL
) STRICT;
CREATE TABLE datasets (
  name TEXT PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  dataset BLOB NOT NULL
) STRICT;
CREATE TABLE accounts (
  number INTEGER PRIMARY KEY,
  job TEXT NOT NULL UNIQUE,
  dataset TEXT NOT NULL REFERENCES datasets (name),
  charge BLOB NOT NULL,
  reserved INTEGER NOT NULL,
  committed INTEGER NOT NULL DEFAULT 0,
  released INTEGER NOT NULL DEFAULT 0,
  attempt INTEGER NOT NULL DEFAULT 0,
  returned INTEGER,
  settled INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX accounts_of_dataset ON accounts (dataset, number);
CREATE TABLE grants (
  job TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  first_step INTEGER NOT NULL,
  end_step INTEGER NOT NULL,
  PRIMARY KEY (job, attempt, first_step)
) STRICT, WITHOUT ROWID;
)sql";

// Charges that differ from step to step. `charge` holds their segments; `committed_by_segment` is a
// list of integers, empty where there is one segment.
constexpr char kVersion2[] = R"sql(
ALTER TABLE accounts ADD COLUMN committed_by_segment TEXT NOT NULL DEFAULT '';
ALTER TABLE accounts ADD COLUMN run_end INTEGER NOT NULL DEFAULT 0;
ALTER TABLE accounts ADD COLUMN earlier_run_end INTEGER NOT NULL DEFAULT 0;
)sql";

}  // namespace

database::Schema LedgerSchema() { return {"ledger", {kVersion1, kVersion2}}; }

}  // namespace sotto::ledger
