// Which changes of a spec, alone or together, make its job fit.
#ifndef SOTTO_SERVER_PLANNING_REMEDY_SEARCH_H_
#define SOTTO_SERVER_PLANNING_REMEDY_SEARCH_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::planning {

// Other values of one field, the nearest to what is asked for first, the leanest last.
struct Remedy {
  struct Value {
    std::string text;  // "workers.count 4"
    std::function<void(v1::JobSpec&)> apply;
  };
  std::string field;
  std::vector<Value> values;
  bool combines = true;  // is tried together with others
};

// Bytes of a rank; nothing when they are too many or the spec makes no job.
using FittingBytes = absl::FunctionRef<std::optional<int64_t>(const v1::JobSpec&)>;

struct FoundRemedy {
  std::vector<std::string> fields;
  // "workers.count 4 needs 310 MiB", "workers.count 4 with train.micro_batch_size 1 needs 310 MiB".
  std::string text;
};

// Every remedy that makes `spec` fit by itself, at the first of its values that does. Where none
// does, sets of two, and so on: of the smallest size at which any does, three at most, their values
// taken back from the leanest as far as it still fits, field by field. Nothing where all together
// do not.
std::vector<FoundRemedy> FindRemedies(const v1::JobSpec& spec, absl::Span<const Remedy> remedies,
                                      FittingBytes bytes_if_fitting);

// The spec with the leanest value of every remedy that combines; "A with B" of them in `text`.
v1::JobSpec WithLeanest(const v1::JobSpec& spec, absl::Span<const Remedy> remedies,
                        std::string& text);

// "310 MiB", rounded up.
std::string Mebibytes(int64_t bytes);

}  // namespace sotto::planning

#endif  // SOTTO_SERVER_PLANNING_REMEDY_SEARCH_H_
