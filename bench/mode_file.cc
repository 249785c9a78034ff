#include "bench/mode_file.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "bench/mode_rows.h"
#include "common/base/status_macros.h"

namespace sotto::bench {
namespace {

using nlohmann::json;

json StepsOf(const Measured& measured, double StepTimes::*member) {
  json values = json::array();
  for (const StepTimes& step : measured.steps) values.push_back(step.*member);
  return values;
}

// Takes fields out of objects; remembers the first one that is not there.
class FieldReader {
 public:
  template <typename T>
  void Read(const json& object, const char* name, T& value) {
    const auto found = object.is_object() ? object.find(name) : object.end();
    const bool is_right =
        found != object.end() && (std::is_same_v<T, std::string> ? found->is_string()
                                  : std::is_same_v<T, bool>      ? found->is_boolean()
                                                                 : found->is_number());
    if (is_right) {
      value = found->template get<T>();
    } else if (status_.ok()) {
      status_ = Missing(name);
    }
  }

  // The array's elements; none where it is missing.
  std::vector<json> Elements(const json& object, const char* name) {
    const auto found = object.is_object() ? object.find(name) : object.end();
    if (found != object.end() && found->is_array()) return found->get<std::vector<json>>();
    if (status_.ok()) status_ = Missing(name);
    return {};
  }

  std::vector<double> Numbers(const json& object, const char* name) {
    std::vector<double> numbers;
    for (const json& element : Elements(object, name)) {
      if (!element.is_number() && status_.ok()) status_ = Missing(name);
      numbers.push_back(element.is_number() ? element.get<double>() : 0);
    }
    return numbers;
  }

  const absl::Status& status() const { return status_; }

 private:
  static absl::Status Missing(const char* name) {
    return absl::InvalidArgumentError(
        absl::StrCat("no figures of ./dev bench modes: ", name, " is missing or of another type"));
  }

  absl::Status status_;
};

absl::StatusOr<Measured> ContenderOf(const json& row) {
  FieldReader reader;
  Measured own;
  reader.Read(row, "mode", own.name);
  reader.Read(row, "is_peer", own.is_peer);
  reader.Read(row, "peak_bytes", own.peak_bytes);
  reader.Read(row, "planned_bytes", own.planned_bytes);
  reader.Read(row, "tensor_peak_bytes", own.tensor_peak_bytes);
  reader.Read(row, "planned_tensor_bytes", own.planned_tensor_bytes);
  reader.Read(row, "choice", own.choice);
  for (double round : reader.Numbers(row, "rounds")) own.rounds.push_back(static_cast<int>(round));
  const std::vector<double> seconds = reader.Numbers(row, "step_seconds");
  const std::vector<double> cpu_seconds = reader.Numbers(row, "step_cpu_seconds");
  const std::vector<double> release_seconds = reader.Numbers(row, "step_release_seconds");
  RETURN_IF_ERROR(reader.status());
  if (seconds.size() != own.rounds.size() || cpu_seconds.size() != own.rounds.size() ||
      release_seconds.size() != own.rounds.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("rounds and steps must be as many, but differ in ", own.name));
  }
  for (size_t i = 0; i < seconds.size(); ++i) {
    own.steps.push_back({seconds[i], cpu_seconds[i], release_seconds[i]});
  }
  return own;
}

absl::StatusOr<MeasuredShape> ShapeOf(const json& object) {
  FieldReader reader;
  std::string model;
  reader.Read(object, "model", model);
  RETURN_IF_ERROR(reader.status());
  MeasuredShape measured;
  ASSIGN_OR_RETURN(measured.shape, ShapeOfModel(model));
  reader.Read(object, "parameters", measured.parameters);
  reader.Read(object, "tokens", measured.shape.tokens);
  reader.Read(object, "examples", measured.shape.examples);
  reader.Read(object, "micro_batches", measured.shape.micro_batches);
  reader.Read(object, "threads", measured.shape.threads);
  reader.Read(object, "clip_norm", measured.clip_norm);
  reader.Read(object, "rounds", measured.rounds);
  reader.Read(object, "rounds_asked", measured.rounds_asked);
  for (const json& row : reader.Elements(object, "rows")) {
    ASSIGN_OR_RETURN(measured.contenders.emplace_back(), ContenderOf(row));
  }
  RETURN_IF_ERROR(reader.status());
  return measured;
}

}  // namespace

json JsonOf(const MeasuredShape& measured) {
  const ModeShape& shape = measured.shape;
  json object = {{"model", shape.model},
                 {"parameters", measured.parameters},
                 {"tokens", shape.tokens},
                 {"examples", shape.examples},
                 {"micro_batches", shape.micro_batches},
                 {"threads", shape.threads},
                 {"clip_norm", measured.clip_norm},
                 {"rounds", measured.rounds},
                 {"rounds_asked", measured.rounds_asked},
                 {"rows", json::array()}};
  if (const std::optional<PairedRatio> best = BestOverOpacus(measured); best.has_value()) {
    object["best_over_opacus"] = {{"mode", best->own},
                                  {"opacus", best->base},
                                  {"ratio", best->ratio.median},
                                  {"ratio_quartiles", {best->ratio.low, best->ratio.high}},
                                  {"rounds", best->rounds}};
  }
  const std::vector<ModeRow> rows = RowsOf(measured);
  for (size_t i = 0; i < rows.size(); ++i) {
    const ModeRow& row = rows[i];
    const Measured& own = measured.contenders[i];
    // Ratios that do not exist (no base) become null.
    object["rows"].push_back(
        {{"mode", row.name},
         {"is_peer", row.is_peer},
         {"repeats", row.repeats},
         {"tokens_per_second", row.tokens_per_second},
         {"median_step_seconds", row.step_seconds.median},
         {"step_seconds_quartiles", {row.step_seconds.low, row.step_seconds.high}},
         {"ratio_to_no_dp", row.ratio_to_no_dp.median},
         {"ratio_to_no_dp_quartiles", {row.ratio_to_no_dp.low, row.ratio_to_no_dp.high}},
         {"cpu_ratio_to_no_dp", row.cpu_ratio_to_no_dp},
         {"ratio_to_pytorch", row.ratio_to_pytorch},
         {"ratio_to_immediate", row.ratio_to_immediate},
         {"memory_to_immediate", row.memory_to_immediate},
         {"release_share", row.release_share},
         {"peak_bytes", row.peak_bytes},
         {"planned_bytes", row.planned_bytes},
         {"tensor_peak_bytes", row.tensor_peak_bytes},
         {"planned_tensor_bytes", row.planned_tensor_bytes},
         {"choice", row.choice},
         {"rounds", own.rounds},
         {"step_seconds", StepsOf(own, &StepTimes::seconds)},
         {"step_cpu_seconds", StepsOf(own, &StepTimes::cpu_seconds)},
         {"step_release_seconds", StepsOf(own, &StepTimes::release_seconds)}});
  }
  return object;
}

absl::StatusOr<std::vector<MeasuredShape>> MeasuredFromJson(const json& file) {
  FieldReader reader;
  std::vector<MeasuredShape> shapes;
  for (const json& object : reader.Elements(file, "shapes")) {
    ASSIGN_OR_RETURN(shapes.emplace_back(), ShapeOf(object));
  }
  RETURN_IF_ERROR(reader.status());
  return shapes;
}

}  // namespace sotto::bench
