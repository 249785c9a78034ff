#include "tools/check/trained_model.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "tools/check/recorded_training.h"

namespace sotto::check {

absl::StatusOr<TrainedModel> TrainModel(const RunSettings& settings, const ModeChoice& mode) {
  ASSIGN_OR_RETURN(const std::unique_ptr<RecordedTraining> training,
                   RecordedTraining::Create(settings));
  RunRequest request;
  ASSIGN_OR_RETURN(request.plan, training->Plan(mode));
  request.snapshots = {.write_to = absl::StrCat(training->folder(), "/model.f32"),
                       .last_only = true};
  TrainedModel model;
  const absl::Time begin = RealClock::Get().Now();
  ASSIGN_OR_RETURN(model.run, training->Run(request));
  model.seconds = absl::ToDoubleSeconds(RealClock::Get().Now() - begin);
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(request.snapshots.write_to));
  model.parameters.resize(bytes.size() / sizeof(float));
  std::memcpy(model.parameters.data(), bytes.data(), model.parameters.size() * sizeof(float));
  model.plan = std::move(request.plan);
  return model;
}

int64_t CountDifferentBits(const std::vector<float>& a, const std::vector<float>& b) {
  int64_t count = static_cast<int64_t>(std::max(a.size(), b.size()) - std::min(a.size(), b.size()));
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    count += std::memcmp(&a[i], &b[i], sizeof(float)) != 0;
  }
  return count;
}

}  // namespace sotto::check
