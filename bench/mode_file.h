// What was measured, as JSON.
#ifndef SOTTO_BENCH_MODE_FILE_H_
#define SOTTO_BENCH_MODE_FILE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "bench/mode_rounds.h"
#include "nlohmann/json.hpp"

namespace sotto::bench {

// Everything: each contender's single steps, and their medians and quartiles for whoever reads it.
nlohmann::json JsonOf(const MeasuredShape& measured);

// The shapes of a file whose "shapes" are JsonOf's. INVALID_ARGUMENT: which field is missing.
absl::StatusOr<std::vector<MeasuredShape>> MeasuredFromJson(const nlohmann::json& file);

}  // namespace sotto::bench

#endif  // SOTTO_BENCH_MODE_FILE_H_
