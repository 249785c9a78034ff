#include "server/store/job_store_schema.h"

namespace sotto::store {
namespace {

// A job is its number here and "job-<number>" outside. `job` is a v1::Job without its plan, `plan`
// a v1::JobPlan, `event` a v1::JobEvent; the other columns repeat what queries need. Times are
// nanoseconds since 1970.
constexpr char kVersion1[] = R"sql(
CREATE TABLE job_numbers (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  last INTEGER NOT NULL
) STRICT;
CREATE TABLE jobs (
  number INTEGER PRIMARY KEY,
  state INTEGER NOT NULL,
  is_live INTEGER NOT NULL,
  request_id TEXT UNIQUE,
  job BLOB NOT NULL,
  plan BLOB NOT NULL,
  oldest_sequence INTEGER NOT NULL DEFAULT 1,
  tail_sequence INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX live_jobs ON jobs (number) WHERE is_live = 1;
CREATE TABLE events (
  job INTEGER NOT NULL REFERENCES jobs (number),
  sequence INTEGER NOT NULL,
  attempt INTEGER,
  step INTEGER,
  event BLOB NOT NULL,
  PRIMARY KEY (job, sequence)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX reported_steps ON events (job, attempt, step) WHERE step IS NOT NULL;
CREATE TABLE attempts (
  job INTEGER NOT NULL REFERENCES jobs (number),
  attempt INTEGER NOT NULL,
  world_size INTEGER NOT NULL,
  token_sha256 TEXT NOT NULL,
  start_time INTEGER NOT NULL,
  PRIMARY KEY (job, attempt)
) STRICT, WITHOUT ROWID;
CREATE TABLE processes (
  job INTEGER NOT NULL REFERENCES jobs (number),
  attempt INTEGER NOT NULL,
  rank INTEGER NOT NULL,
  pid INTEGER NOT NULL,
  start_time INTEGER NOT NULL,
  boot_id TEXT NOT NULL,
  PRIMARY KEY (job, attempt, rank)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoints (
  job INTEGER NOT NULL REFERENCES jobs (number),
  step INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  path TEXT NOT NULL,
  time INTEGER NOT NULL,
  PRIMARY KEY (job, step)
) STRICT, WITHOUT ROWID;
)sql";

constexpr char kVersion2[] = R"sql(
CREATE TABLE device_profiles (
  threads INTEGER PRIMARY KEY,
  profile BLOB NOT NULL
) STRICT;
)sql";

// The spec of a job's first plan, once another has taken the plan's place.
constexpr char kVersion3[] = R"sql(
ALTER TABLE jobs ADD COLUMN submitted_spec BLOB;
)sql";

}  // namespace

database::Schema JobStoreSchema() { return {"store", {kVersion1, kVersion2, kVersion3}}; }

}  // namespace sotto::store
