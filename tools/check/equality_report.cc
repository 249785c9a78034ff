#include "tools/check/equality_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace sotto::check {
namespace {

using nlohmann::json;

constexpr double kKiB = 1024;

double Times(int64_t first, int64_t bytes) {
  return static_cast<double>(first) / static_cast<double>(bytes);
}

std::string Heading(const EqualityReport& report) {
  return absl::StrFormat(
      "%d parameters, AdamW, %s, records of %d tokens, one thread a rank, seed %d\n",
      report.widest.train().parameters(), report.options.mode.Label(),
      report.options.settings.length, report.options.settings.seed);
}

std::string SameTable(const EqualityReport& report) {
  std::string text = absl::StrFormat(
      "\nthe same %d records on every rank, %d steps at rate %g\n%-6s %16s %18s %22s\n",
      report.options.settings.micro_batch, report.options.same_steps,
      report.options.same_learning_rate, "ranks", "parameter sum", "largest difference",
      "gradient norm's, rel.");
  for (const EqualityRow& row : report.rows) {
    absl::StrAppendFormat(&text, "%-6d %16.9f %18.2e %22.2e\n", row.world_size, row.parameter_sum,
                          row.largest_difference, row.largest_norm_difference);
  }
  return text;
}

std::string DistinctTable(const EqualityReport& report) {
  const RunSettings& settings = report.options.settings;
  std::string text = absl::StrFormat(
      "\n%d distinct records, shared out to the ranks in micro-batches of %d, %d steps at rate %g\n"
      "%-6s %10s %10s %10s %22s\n",
      settings.records, settings.micro_batch, settings.steps, settings.learning_rate, "ranks",
      "first loss", "last loss", "falls", "differing parameters");
  for (const EqualityRow& row : report.rows) {
    absl::StrAppendFormat(&text, "%-6d %10.6f %10.6f %9.1fx %22d\n", row.world_size, row.first_loss,
                          row.last_loss, row.LossFall(), row.differing_parameters);
  }
  return text;
}

std::string MemoryTable(const EqualityReport& report) {
  std::string text = absl::StrFormat(
      "\nKiB of a rank: its shards of parameters, gradient and optimizer state, planned; all its "
      "tensors after\nthe last step (shards and slots) and the most at once (activations too), "
      "measured and planned\n%-6s %10s %10s %10s %10s %10s %10s %10s\n",
      "ranks", "shards", "sharding", "held", "planned", "peak", "planned", "sharding");
  const EqualityRow& first = report.rows.front();
  for (const EqualityRow& row : report.rows) {
    absl::StrAppendFormat(
        &text, "%-6d %10.1f %9.2fx %10.1f %10.1f %10.1f %10.1f %9.2fx\n", row.world_size,
        row.shard_bytes / kKiB, Times(first.shard_bytes, row.shard_bytes), row.held_bytes / kKiB,
        row.planned_held_bytes / kKiB, row.tensor_peak_bytes / kKiB,
        row.planned_tensor_bytes / kKiB, Times(first.tensor_peak_bytes, row.tensor_peak_bytes));
  }
  return text;
}

std::string PaddingTable(const EqualityReport& report) {
  std::string text = absl::StrFormat("\npadding on %d ranks\n%-16s %10s %10s %10s %12s\n",
                                     report.rows.back().world_size, "unit", "elements", "padded",
                                     "padding", "of a rank");
  for (const v1::UnitPlan& unit : report.widest.sharding().units()) {
    absl::StrAppendFormat(
        &text, "%-16s %10d %10d %9.2f%% %12d\n", unit.name(), unit.trained_elements(),
        unit.padded_elements(),
        100.0 * static_cast<double>(unit.padded_elements() - unit.trained_elements()) /
            static_cast<double>(unit.padded_elements()),
        unit.padded_elements() / report.widest.sharding().shard_group_size());
  }
  for (const EqualityRow& row : report.rows) {
    absl::StrAppendFormat(&text, "%d rank%s: %d elements of padding, %d of them not zero\n",
                          row.world_size, row.world_size == 1 ? "" : "s", row.padding_elements,
                          row.nonzero_padding);
  }
  return text;
}

json RowJson(const EqualityRow& row, const EqualityLimits& limits) {
  return {{"world_size", row.world_size},
          {"parameter_sum", row.parameter_sum},
          {"largest_difference", row.largest_difference},
          {"largest_scaled_difference", row.largest_scaled_difference},
          {"largest_relative_gradient_norm_difference", row.largest_norm_difference},
          {"first_loss", row.first_loss},
          {"last_loss", row.last_loss},
          {"differing_parameters", row.differing_parameters},
          {"ideal_shard_bytes", row.ideal_shard_bytes},
          {"shard_bytes", row.shard_bytes},
          {"tensor_held_bytes", row.held_bytes},
          {"planned_held_bytes", row.planned_held_bytes},
          {"planned_tensor_bytes", row.planned_tensor_bytes},
          {"tensor_peak_bytes", row.tensor_peak_bytes},
          {"padding_elements", row.padding_elements},
          {"nonzero_padding", row.nonzero_padding},
          {"fault", row.Fault(limits)}};
}

}  // namespace

std::string EqualityText(const EqualityReport& report) {
  std::string text = absl::StrCat(Heading(report), SameTable(report), DistinctTable(report),
                                  MemoryTable(report), PaddingTable(report), "\n");
  absl::StrAppendFormat(
      &text,
      "Limits: difference %.0e max(1, |parameter|), gradient norm %.0e, no differing bit with "
      "distinct records,\nloss falls %gx, padding zero, shards an equal part, held within %d bytes "
      "of planned, peak within the plan.\n",
      report.limits.parameter, report.limits.gradient_norm, report.limits.loss_fall,
      report.limits.loose_bytes);
  for (const EqualityRow& row : report.rows) {
    const std::string fault = row.Fault(report.limits);
    if (fault.empty()) continue;
    absl::StrAppendFormat(&text, "DIFFERS: %d rank%s: %s\n", row.world_size,
                          row.world_size == 1 ? "" : "s", fault);
  }
  if (report.Agrees()) {
    absl::StrAppend(&text, "all ", report.rows.size(), " world sizes agree\n");
  }
  return text;
}

json EqualityJson(const EqualityReport& report) {
  const RunSettings& settings = report.options.settings;
  json result = {{"command", "equality"},
                 {"model", settings.model.ShortDebugString()},
                 {"parameters", report.widest.train().parameters()},
                 {"mode", report.options.mode.Label()},
                 {"settings",
                  {{"length", settings.length},
                   {"records", settings.records},
                   {"micro_batch", settings.micro_batch},
                   {"steps", settings.steps},
                   {"learning_rate", settings.learning_rate},
                   {"same_steps", report.options.same_steps},
                   {"same_learning_rate", report.options.same_learning_rate},
                   {"seed", settings.seed}}},
                 {"limits",
                  {{"parameter", report.limits.parameter},
                   {"gradient_norm", report.limits.gradient_norm},
                   {"loss_fall", report.limits.loss_fall},
                   {"loose_bytes", report.limits.loose_bytes}}},
                 {"agrees", report.Agrees()}};
  for (const EqualityRow& row : report.rows) result["rows"].push_back(RowJson(row, report.limits));
  for (const v1::UnitPlan& unit : report.widest.sharding().units()) {
    result["units"].push_back({{"name", unit.name()},
                               {"elements", unit.trained_elements()},
                               {"padded_elements", unit.padded_elements()}});
  }
  return result;
}

}  // namespace sotto::check
