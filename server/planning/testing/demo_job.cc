#include "server/planning/testing/demo_job.h"

#include <utility>

#include "absl/status/statusor.h"
#include "common/spec/spec_parser.h"

namespace sotto::planning {

v1::JobSpec MakeDemoSpec() {
  absl::StatusOr<v1::JobSpec> spec = spec::ParseJobSpec(R"(
model: {gpt2: {vocabulary_size: 257, width: 96, layers: 4, heads: 4, max_length: 128}}
data: {dataset: fortunes}
privacy: {epsilon: 3, clip_norm: 1}
train: {expected_batch_size: 512, steps: 300, learning_rate: {peak: 3e-3, warmup_steps: 10}}
workers: {count: 2}
)",
                                                        spec::Format::kYaml);
  return std::move(spec).value();
}

v1::JobSpec MakeNotPrivateSpec() {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_privacy()->clear_epsilon();
  spec.mutable_privacy()->set_not_private(true);
  return spec;
}

v1::DatasetFacts MakeDemoDataset() {
  v1::DatasetFacts dataset;
  dataset.set_name("fortunes");
  dataset.set_path("/data/fortunes.tokens");
  dataset.set_max_records(15000);
  dataset.set_vocabulary_size(257);
  dataset.set_max_length(128);
  dataset.set_budgeted(true);
  dataset.set_budget_epsilon(8);
  dataset.set_budget_delta(1e-6);
  return dataset;
}

HostFacts MakeDemoHost() { return {.slots = 4, .cores = 8, .memory_bytes = int64_t{8} << 30}; }

}  // namespace sotto::planning
