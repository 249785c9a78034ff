// Values that go into and come out of SQL statements.
#ifndef SOTTO_SERVER_DATABASE_VALUE_H_
#define SOTTO_SERVER_DATABASE_VALUE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"

namespace sotto::database {

// Bytes, as opposed to text.
struct Blob {
  std::string bytes;
};

// NULL, INTEGER, REAL, TEXT or BLOB. The accessors give the type's zero for a value of another
// type: the tables are STRICT, so that only NULL can surprise.
class Value {
 public:
  Value() = default;
  Value(int64_t value) : value_(value) {}                 // NOLINT: implicit, for parameter lists.
  Value(int value) : value_(int64_t{value}) {}            // NOLINT
  Value(bool value) : value_(int64_t{value}) {}           // NOLINT
  Value(double value) : value_(value) {}                  // NOLINT
  Value(const char* text) : value_(std::string(text)) {}  // NOLINT
  Value(std::string text) : value_(std::move(text)) {}    // NOLINT
  Value(absl::string_view text) : value_(std::string(text)) {}  // NOLINT
  Value(Blob blob) : value_(std::move(blob)) {}                 // NOLINT

  bool is_null() const { return std::holds_alternative<std::monostate>(value_); }
  int64_t int64() const { return Get<int64_t>(); }
  double real() const { return Get<double>(); }
  std::string text() const { return Get<std::string>(); }
  std::string blob() const { return Get<Blob>().bytes; }

  using Variant = std::variant<std::monostate, int64_t, double, std::string, Blob>;
  const Variant& variant() const { return value_; }

 private:
  template <typename T>
  T Get() const {
    const T* value = std::get_if<T>(&value_);
    return value == nullptr ? T() : *value;
  }

  Variant value_;
};

// One row of a result, by column.
using Row = std::vector<Value>;

}  // namespace sotto::database

#endif  // SOTTO_SERVER_DATABASE_VALUE_H_
