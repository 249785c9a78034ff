#include "server/launcher/exit_record.h"

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "proto/sotto/v1/worker_service.pb.h"

namespace sotto::launcher {
namespace {

using google::protobuf::util::JsonParseOptions;
using google::protobuf::util::JsonStringToMessage;

ExitRecord::Outcome FromProto(v1::Finished::Outcome outcome) {
  switch (outcome) {
    case v1::Finished::DONE:
      return ExitRecord::Outcome::kDone;
    case v1::Finished::STOPPED:
      return ExitRecord::Outcome::kStopped;
    case v1::Finished::FAILED:
      return ExitRecord::Outcome::kFailed;
    case v1::Finished::GRACE_EXPIRED:
      return ExitRecord::Outcome::kGraceExpired;
    default:
      return ExitRecord::Outcome::kUnknown;
  }
}

// Whether the file's job, attempt and rank are these; Finished itself does not carry them.
bool IsOf(const google::protobuf::Struct& file, const std::string& job, int64_t attempt, int rank) {
  const auto& fields = file.fields();
  const auto job_field = fields.find("job");
  const auto attempt_field = fields.find("attempt");
  const auto rank_field = fields.find("rank");
  return job_field != fields.end() && job_field->second.string_value() == job &&
         attempt_field != fields.end() && attempt_field->second.number_value() == attempt &&
         rank_field != fields.end() && rank_field->second.number_value() == rank;
}

}  // namespace

std::optional<ExitRecord> ReadExitRecord(const std::string& run_directory, const std::string& job,
                                         int64_t attempt, int rank) {
  const absl::StatusOr<std::string> text =
      ReadFile(absl::StrCat(run_directory, "/exit-", rank, ".json"));
  if (!text.ok()) return std::nullopt;

  google::protobuf::Struct identity;
  if (!JsonStringToMessage(*text, &identity).ok() || !IsOf(identity, job, attempt, rank)) {
    return std::nullopt;
  }
  v1::Finished finished;
  JsonParseOptions options;
  options.ignore_unknown_fields = true;
  if (!JsonStringToMessage(*text, &finished, options).ok()) return std::nullopt;
  return ExitRecord{FromProto(finished.outcome()), finished.reason(), finished.message(),
                    finished.started_steps(), finished.completed_steps()};
}

}  // namespace sotto::launcher
