#include "client/prepare/csv.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto::client {
namespace {

class Parser {
 public:
  explicit Parser(absl::string_view content) : rest_(content) {}

  absl::StatusOr<std::vector<CsvRow>> Parse() {
    std::vector<CsvRow> rows;
    while (!rest_.empty()) {
      if (TakeLineBreak()) continue;  // An empty line.
      CsvRow row{.cells = {}, .line = line_};
      RETURN_IF_ERROR(ParseRow(row));
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  absl::Status ParseRow(CsvRow& row) {
    while (true) {
      std::string cell;
      RETURN_IF_ERROR(Peek() == '"' ? ParseQuoted(cell) : ParseBare(cell));
      row.cells.push_back(std::move(cell));
      if (rest_.empty() || TakeLineBreak()) return absl::OkStatus();
      if (Peek() != ',') return Error("text after a closing quote");
      rest_.remove_prefix(1);
    }
  }

  absl::Status ParseQuoted(std::string& cell) {
    const size_t first_line = line_;
    rest_.remove_prefix(1);
    while (!rest_.empty()) {
      const char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '"') {
        if (Peek() != '"') return absl::OkStatus();
        rest_.remove_prefix(1);
      }
      if (c == '\n') ++line_;
      cell += c;
    }
    line_ = first_line;
    return Error("a quote that never ends");
  }

  absl::Status ParseBare(std::string& cell) {
    while (!rest_.empty() && Peek() != ',' && Peek() != '\n' &&
           !(rest_[0] == '\r' && rest_.size() > 1 && rest_[1] == '\n')) {
      if (Peek() == '"') return Error("a quote inside a cell that does not begin with one");
      cell += rest_.front();
      rest_.remove_prefix(1);
    }
    return absl::OkStatus();
  }

  bool TakeLineBreak() {
    size_t length = 0;
    if (Peek() == '\n') {
      length = 1;
    } else if (rest_.size() >= 2 && rest_[0] == '\r' && rest_[1] == '\n') {
      length = 2;
    }
    rest_.remove_prefix(length);
    line_ += length > 0;
    return length > 0;
  }

  char Peek() const { return rest_.empty() ? '\0' : rest_.front(); }

  absl::Status Error(absl::string_view rule) const {
    return absl::InvalidArgumentError(absl::StrCat("line ", line_, ": ", rule));
  }

  absl::string_view rest_;
  size_t line_ = 1;
};

}  // namespace

absl::StatusOr<std::vector<CsvRow>> ParseCsv(absl::string_view content) {
  return Parser(content).Parse();
}

}  // namespace sotto::client
