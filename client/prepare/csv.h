// Comma-separated values as in RFC 4180.
#ifndef SOTTO_CLIENT_PREPARE_CSV_H_
#define SOTTO_CLIENT_PREPARE_CSV_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace sotto::client {

struct CsvRow {
  std::vector<std::string> cells;
  size_t line = 0;  // where the row begins, from 1
};

// All rows, the header's included; empty lines are left out. Quoted cells may hold commas, line
// breaks and doubled quotes. INVALID_ARGUMENT, with the line: a quote that never ends, text after a
// closing quote, a quote inside a bare cell.
absl::StatusOr<std::vector<CsvRow>> ParseCsv(absl::string_view content);

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_PREPARE_CSV_H_
