// Versions of a component's tables.
#ifndef SOTTO_SERVER_DATABASE_SCHEMA_H_
#define SOTTO_SERVER_DATABASE_SCHEMA_H_

#include <string>
#include <vector>

namespace sotto::database {

// The tables of one component (store, ledger). Version n of them is what migrations[0..n-1] make of
// an empty database, in order; each is a script of statements. A released migration is never
// edited: changes are appended.
struct Schema {
  std::string component;
  std::vector<std::string> migrations;
};

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_SCHEMA_H_
