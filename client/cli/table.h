// Columns of text.
#ifndef SOTTO_CLIENT_CLI_TABLE_H_
#define SOTTO_CLIENT_CLI_TABLE_H_

#include <string>
#include <vector>

namespace sotto::cli {

// Rows under a header, columns as wide as their widest cell, two spaces between them.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}

  // As many cells as the header has.
  void AddRow(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  std::string ToString() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace sotto::cli

#endif  // SOTTO_CLIENT_CLI_TABLE_H_
