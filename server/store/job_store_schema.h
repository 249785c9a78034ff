// The tables of the job store.
#ifndef SOTTO_SERVER_STORE_JOB_STORE_SCHEMA_H_
#define SOTTO_SERVER_STORE_JOB_STORE_SCHEMA_H_

#include "server/database/schema.h"

namespace sotto::store {

database::Schema JobStoreSchema();

}  // namespace sotto::store

#endif  // SOTTO_SERVER_STORE_JOB_STORE_SCHEMA_H_
