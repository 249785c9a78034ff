// From settings to a record: plans a job, trains it in processes of its own.
#ifndef SOTTO_TOOLS_CHECK_RECORDED_TRAINING_H_
#define SOTTO_TOOLS_CHECK_RECORDED_TRAINING_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/scratch_folder.h"
#include "proto/sotto/v1/plan.pb.h"
#include "tools/check/recorded_run.h"
#include "tools/check/run_settings.h"
#include "tools/check/training_rank.h"

namespace sotto::check {

// A folder with random records, which goes with the object, and the trainings that read them. One
// training at a time.
class RecordedTraining {
 public:
  // Writes the records. INVALID_ARGUMENT: settings that make no data set.
  static absl::StatusOr<std::unique_ptr<RecordedTraining>> Create(const RunSettings& settings);
  RecordedTraining(const RecordedTraining&) = delete;
  RecordedTraining& operator=(const RecordedTraining&) = delete;

  // The plan of one mode, as a coordinator would make it. INVALID_ARGUMENT: what planning refuses.
  absl::StatusOr<v1::JobPlan> Plan(const ModeChoice& mode) const;

  void set_clip_norm(double clip_norm) { settings_.clip_norm = clip_norm; }

  // Trains; the ranks are processes. INTERNAL: a rank failed.
  absl::StatusOr<RecordedRun> Run(const RunRequest& request);

  // Where what belongs to these trainings may be written.
  const std::string& folder() const { return folder_->path(); }
  const std::string& records_path() const { return records_path_; }
  const RunSettings& settings() const { return settings_; }

 private:
  RecordedTraining(const RunSettings& settings, std::unique_ptr<ScratchFolder> folder);
  absl::Status WriteRecords();

  RunSettings settings_;
  std::unique_ptr<ScratchFolder> folder_;
  std::string records_path_;
  std::string records_sha256_;
  int runs_ = 0;
};

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_RECORDED_TRAINING_H_
