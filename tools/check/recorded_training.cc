#include "tools/check/recorded_training.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/dataset/token_file_writer.h"
#include "server/planning/planner.h"
#include "tools/check/preset.h"
#include "tools/check/rank_gang.h"

namespace sotto::check {
namespace {

constexpr int kMostRanks = 16;

int64_t HostMemory() { return sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGE_SIZE); }

v1::JobSpec SpecOf(const RunSettings& settings, const ModeChoice& mode) {
  v1::JobSpec spec;
  *spec.mutable_model() = settings.model;
  spec.mutable_model()->set_init_seed(settings.seed);
  spec.mutable_data()->set_dataset("check");
  v1::PrivacySpec& privacy = *spec.mutable_privacy();
  privacy.set_not_private(true);
  privacy.set_seed(settings.seed);
  if (Clips(mode) || settings.noise_multiplier > 0) privacy.set_clip_norm(settings.clip_norm);
  privacy.set_fixed_noise_multiplier(settings.noise_multiplier);
  v1::TrainSpec& train = *spec.mutable_train();
  train.set_expected_batch_size(settings.batch * settings.copies);
  train.set_steps(settings.steps);
  train.set_micro_batch_size(settings.micro_batch);
  if (settings.uses_adamw) {
    train.mutable_optimizer()->mutable_adamw();
  } else {
    train.mutable_optimizer()->mutable_sgd();
  }
  train.mutable_learning_rate()->set_peak(settings.learning_rate);
  spec.mutable_checkpoint()->set_every_steps(settings.steps);
  spec.mutable_checkpoint()->set_keep(1);
  spec.mutable_workers()->set_count(settings.world_size);
  spec.mutable_workers()->set_strategy(settings.strategy);
  spec.mutable_gradient()->set_mode(mode.name);
  spec.mutable_gradient()->set_deferred_norms(mode.deferred_norms);
  return spec;
}

int64_t MaxLengthOf(const v1::ModelSpec& model) {
  if (model.has_llama()) return model.llama().max_length();
  if (model.has_encoder()) return model.encoder().max_length();
  return model.gpt2().max_length();
}

int32_t VocabularySizeOf(const v1::ModelSpec& model) {
  if (model.has_llama()) return model.llama().vocabulary_size();
  if (model.has_encoder()) return model.encoder().vocabulary_size();
  return model.gpt2().vocabulary_size();
}

absl::Status CheckFamily(const v1::ModelSpec& model) {
  if (model.has_gpt2() || model.has_llama() || model.has_encoder()) return absl::OkStatus();
  return absl::InvalidArgumentError("--model must be a gpt2, llama or encoder: records are tokens");
}

// A worker truncates records that are longer, the oracle does not. A model without a length is for
// planning to refuse.
absl::Status CheckLength(const RunSettings& settings) {
  const int64_t longest = MaxLengthOf(settings.model);
  if (longest == 0 || settings.length <= longest) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--length must be at most the model's max_length ",
                                                 longest, ", but is ", settings.length));
}

struct Record {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> scored;
  int32_t label = dataset::TokenFileWriter::kNoLabel;
};

// Records of many lengths, some with a prompt that is not scored. Tokens follow one another by a
// rule more often than not, so that there is something to learn.
std::vector<Record> MakeRecords(const RunSettings& settings, int32_t vocabulary_size,
                                int32_t classes) {
  std::mt19937_64 generator(settings.seed);
  const auto below = [&generator](int64_t bound) {
    return static_cast<int32_t>(generator() % static_cast<uint64_t>(bound));
  };
  std::vector<Record> records(settings.records);
  for (int index = 0; index < settings.records; ++index) {
    const int32_t shortest = std::min(2, settings.length);
    std::vector<int32_t>& tokens = records[index].tokens;
    tokens.resize(shortest + below(settings.length - shortest + 1));
    if (index == 0 || settings.full_length) tokens.resize(settings.length);
    records[index].scored.assign(tokens.size(), 1);
    for (size_t t = 0; t < tokens.size(); ++t) {
      const bool follows = t > 0 && below(4) != 0;
      tokens[t] = follows ? (3 * tokens[t - 1] + 1) % vocabulary_size : below(vocabulary_size);
      if (!settings.full_length && index % 5 == 4 && t < tokens.size() / 4) {
        records[index].scored[t] = 0;
      }
    }
    if (classes > 0) records[index].label = tokens[0] % classes;
  }
  return records;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RecordedTraining>> RecordedTraining::Create(
    const RunSettings& settings) {
  RETURN_IF_ERROR(CheckFamily(settings.model));
  RETURN_IF_ERROR(CheckLength(settings));
  ASSIGN_OR_RETURN(std::unique_ptr<ScratchFolder> folder,
                   ScratchFolder::Create("/tmp/sotto-check-"));
  std::unique_ptr<RecordedTraining> training(new RecordedTraining(settings, std::move(folder)));
  // Planning bounds the model before it describes it.
  RETURN_IF_ERROR(training->Plan({.name = "no_dp"}).status());
  RETURN_IF_ERROR(training->WriteRecords());
  return training;
}

RecordedTraining::RecordedTraining(const RunSettings& settings,
                                   std::unique_ptr<ScratchFolder> folder)
    : settings_(settings),
      folder_(std::move(folder)),
      records_path_(absl::StrCat(folder_->path(), "/records.tokens")) {}

absl::Status RecordedTraining::WriteRecords() {
  const int32_t vocabulary_size = VocabularySizeOf(settings_.model);
  const int32_t classes = settings_.model.encoder().classes();
  ASSIGN_OR_RETURN(
      dataset::TokenFileWriter writer,
      dataset::TokenFileWriter::Create(records_path_, {.vocabulary_size = vocabulary_size,
                                                       .max_length = settings_.length,
                                                       .classes = classes}));
  const std::vector<Record> records = MakeRecords(settings_, vocabulary_size, classes);
  for (size_t begin = 0; begin < records.size(); begin += settings_.micro_batch) {
    const size_t end = std::min(begin + settings_.micro_batch, records.size());
    for (int copy = 0; copy < settings_.copies; ++copy) {
      for (size_t i = begin; i < end; ++i) {
        RETURN_IF_ERROR(writer.Add(records[i].tokens, records[i].scored, records[i].label));
      }
    }
  }
  ASSIGN_OR_RETURN(records_sha256_, writer.Finish());
  return absl::OkStatus();
}

absl::StatusOr<v1::JobPlan> RecordedTraining::Plan(const ModeChoice& mode) const {
  v1::DatasetFacts dataset;
  dataset.set_name("check");
  dataset.set_path(records_path_);
  dataset.set_sha256(records_sha256_);
  dataset.set_max_records(settings_.records * settings_.copies);
  dataset.set_vocabulary_size(VocabularySizeOf(settings_.model));
  dataset.set_max_length(settings_.length);
  dataset.set_classes(settings_.model.encoder().classes());
  RunSettings settings = settings_;
  if (mode.world_size > 0) settings.world_size = mode.world_size;
  const int cores = settings.threads > 0 ? settings.threads * settings.world_size
                                         : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  return planning::Plan(SpecOf(settings, mode), dataset,
                        {.slots = kMostRanks, .cores = cores, .memory_bytes = HostMemory()});
}

absl::StatusOr<RecordedRun> RecordedTraining::Run(const RunRequest& request) {
  const std::string directory = absl::StrCat(folder(), "/run-", runs_++);
  std::filesystem::create_directory(directory);
  RETURN_IF_ERROR(WriteRequest(request, directory));
  RETURN_IF_ERROR(RunRanks(request.plan.sharding().world_size(),
                           request.plan.sharding().communicator_bytes(), directory));
  return ReadRecord(directory);
}

}  // namespace sotto::check
