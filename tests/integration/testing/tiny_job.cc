#include "tests/integration/testing/tiny_job.h"

#include <vector>

#include "common/base/status_macros.h"
#include "common/dataset/token_file_writer.h"

namespace sotto::integration {
namespace {

constexpr int kMaxLength = 16;

}  // namespace

absl::Status WriteTinyDataset(const std::string& path, int records, int salt, int classes) {
  dataset::TokenFileWriter::Options options;
  options.max_length = kMaxLength;
  options.classes = classes;
  ASSIGN_OR_RETURN(auto writer, dataset::TokenFileWriter::Create(path, options));
  for (int record = 0; record < records; ++record) {
    std::vector<int32_t> tokens;
    for (int i = 0; i < 4 + record % (kMaxLength - 4); ++i) {
      tokens.push_back('a' + (record + salt + i * i) % 26);
    }
    RETURN_IF_ERROR(writer.Add(
        tokens, {}, classes > 0 ? record % classes : dataset::TokenFileWriter::kNoLabel));
  }
  return writer.Finish().status();
}

v1::RegisterDatasetRequest TinyDataset(const std::string& name, const std::string& path) {
  v1::RegisterDatasetRequest request;
  request.set_name(name);
  request.set_path(path);
  request.set_max_records(64);
  request.mutable_budget()->set_epsilon(100);
  request.mutable_budget()->set_delta(1e-5);
  return request;
}

v1::JobSpec TinyJob(const TinyJobOptions& options) {
  v1::JobSpec spec;
  spec.set_name("tiny");
  v1::Gpt2Spec& model = *spec.mutable_model()->mutable_gpt2();
  model.set_vocabulary_size(257);
  model.set_width(16);
  model.set_layers(2);
  model.set_heads(2);
  model.set_max_length(kMaxLength);
  spec.mutable_data()->set_dataset("tiny");
  spec.mutable_privacy()->set_noise_multiplier(4);
  spec.mutable_privacy()->set_crash_reserve(options.crash_reserve);
  spec.mutable_train()->set_expected_batch_size(4);
  spec.mutable_train()->set_steps(options.steps);
  spec.mutable_train()->mutable_learning_rate()->set_peak(0.01);
  spec.mutable_workers()->set_count(options.workers);
  spec.mutable_checkpoint()->set_every_steps(options.checkpoint_every);
  return spec;
}

}  // namespace sotto::integration
