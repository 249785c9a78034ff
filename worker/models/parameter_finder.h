#ifndef SOTTO_WORKER_MODELS_PARAMETER_FINDER_H_
#define SOTTO_WORKER_MODELS_PARAMETER_FINDER_H_

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/layout/model_description.h"

namespace sotto::models {

// Finds parameters of one unit by the end of their name, as positions in its list; remembers the
// first that is missing. Borrows the unit.
class ParameterFinder {
 public:
  static constexpr int kNone = -1;

  explicit ParameterFinder(const layout::UnitDescription& unit) : unit_(unit) {}

  int operator()(absl::string_view suffix) {
    const int found = Optional(suffix);
    if (found == kNone && status_.ok()) {
      status_ = absl::InvalidArgumentError(
          absl::StrCat("unit \"", unit_.name, "\" must have a parameter \"", suffix, "\""));
    }
    return found;
  }

  // kNone when there is no such parameter.
  int Optional(absl::string_view suffix) const {
    for (size_t i = 0; i < unit_.parameters.size(); ++i) {
      if (absl::EndsWith(unit_.parameters[i].name, suffix)) return static_cast<int>(i);
    }
    return kNone;
  }

  // INVALID_ARGUMENT: a parameter that was asked for is missing.
  const absl::Status& status() const { return status_; }

 private:
  const layout::UnitDescription& unit_;
  absl::Status status_;
};

}  // namespace sotto::models

#endif  // SOTTO_WORKER_MODELS_PARAMETER_FINDER_H_
