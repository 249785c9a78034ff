#include "tools/check/world_check.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "tools/check/trained_model.h"

namespace sotto::check {

absl::StatusOr<std::vector<WorldRow>> CompareWorldSizes(const WorldOptions& options) {
  const std::set<int> distinct(options.world_sizes.begin(), options.world_sizes.end());
  if (distinct.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("--ranks must name at least two world sizes to compare, as in 1,2, but is ",
                     absl::StrJoin(options.world_sizes, ",")));
  }
  RunSettings settings = options.settings;
  settings.threads = 1;  // The number of threads must not differ between world sizes.
  std::vector<WorldRow> rows;
  std::vector<float> first;
  for (const int world_size : options.world_sizes) {
    settings.world_size = world_size;
    ASSIGN_OR_RETURN(TrainedModel model, TrainModel(settings, options.mode));
    if (rows.empty()) first = model.parameters;
    rows.push_back({.world_size = world_size,
                    .differing_parameters = CountDifferentBits(model.parameters, first),
                    .seconds = model.seconds});
  }
  return rows;
}

}  // namespace sotto::check
