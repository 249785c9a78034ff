#include "worker/exit_file.h"

#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"

namespace sotto {

absl::Status WriteExitFile(const std::string& run_directory, const ExitIdentity& identity,
                           const v1::Finished& finished) {
  std::string text;
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  if (!google::protobuf::util::MessageToJsonString(finished, &text, options).ok()) {
    return absl::InternalError("the exit record cannot be written as JSON");
  }
  nlohmann::json record = nlohmann::json::parse(text);
  record["job"] = identity.job;
  record["attempt"] = identity.attempt;
  record["rank"] = identity.rank;
  return AtomicWriteFile(absl::StrCat(run_directory, "/exit-", identity.rank, ".json"),
                         absl::StrCat(record.dump(), "\n"));
}

}  // namespace sotto
