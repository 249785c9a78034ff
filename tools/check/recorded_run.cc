#include "tools/check/recorded_run.h"

#include "absl/strings/str_cat.h"

namespace sotto::check {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RecordedPhase, name, seconds, count, tensor_peak_bytes)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RecordedStep, loss, gradient_norm, clip_fraction, batch_size,
                                   parameter_norm, parameter_distance, seconds, phases)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RecordedLayer, name, first_weight_norm, first_gradient_norm,
                                   last_weight_norm, last_gradient_norm)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RecordedRun, steps, layers, peak_bytes, tensor_peak_bytes,
                                   tensor_held_bytes, nonzero_padding)

double RecordedRun::MeanGradientNorm() const {
  double sum = 0;
  for (const RecordedStep& step : steps) sum += step.gradient_norm;
  return steps.empty() ? 0 : sum / static_cast<double>(steps.size());
}

nlohmann::json ToJson(const RecordedRun& run) { return run; }

std::string RunToBytes(const RecordedRun& run) {
  const std::vector<uint8_t> bytes = nlohmann::json::to_cbor(ToJson(run));
  return std::string(bytes.begin(), bytes.end());
}

absl::StatusOr<RecordedRun> RunFromBytes(const std::string& bytes) {
  try {
    return nlohmann::json::from_cbor(bytes).get<RecordedRun>();
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(absl::StrCat("the ranks' record cannot be read: ", error.what()));
  }
}

}  // namespace sotto::check
