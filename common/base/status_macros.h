// Early return on errors, named as in newer Abseil.
#ifndef SOTTO_COMMON_BASE_STATUS_MACROS_H_
#define SOTTO_COMMON_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/base/optimization.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Returns from the enclosing function when `expr`, an absl::Status, is not OK.
#define RETURN_IF_ERROR(expr)                     \
  do {                                            \
    ::absl::Status sotto_status = (expr);         \
    if (ABSL_PREDICT_FALSE(!sotto_status.ok())) { \
      return sotto_status;                        \
    }                                             \
  } while (false)

// Assigns the value of `...`, an absl::StatusOr, to `lhs` (which may declare a variable), or
// returns its error. Not for the unbraced body of an if: it expands to several statements.
#define ASSIGN_OR_RETURN(lhs, ...) \
  SOTTO_ASSIGN_OR_RETURN_IMPL(SOTTO_STATUS_CONCAT(sotto_status_or_, __LINE__), lhs, __VA_ARGS__)

#define SOTTO_ASSIGN_OR_RETURN_IMPL(result, lhs, ...) \
  auto result = (__VA_ARGS__);                        \
  if (ABSL_PREDICT_FALSE(!result.ok())) {             \
    return std::move(result).status();                \
  }                                                   \
  lhs = *std::move(result)

#define SOTTO_STATUS_CONCAT(a, b) SOTTO_STATUS_CONCAT_INNER(a, b)
#define SOTTO_STATUS_CONCAT_INNER(a, b) a##b

#endif  // SOTTO_COMMON_BASE_STATUS_MACROS_H_
