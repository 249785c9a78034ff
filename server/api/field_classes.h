// Which fields may be sent to whom: the one table behind every reply about jobs and datasets
// (design section 7).
#ifndef SOTTO_SERVER_API_FIELD_CLASSES_H_
#define SOTTO_SERVER_API_FIELD_CLASSES_H_

#include <optional>
#include <string>
#include <vector>

#include <google/protobuf/message.h>

#include "absl/strings/string_view.h"

namespace sotto::api {

enum class FieldClass {
  kPublic,   // does not depend on the records, or follows from what is already public
  kNoised,   // a release whose noise is inside the job's epsilon
  kTiming,   // outside the guarantee, said so in the promise
  kSteward,  // raw
};

// Who will read a reply.
enum class Audience {
  kReaders,  // everyone who may read the job
  kSteward,  // a recorded view; also jobs without a promise on data without a budget
};

// The class of a field, by full name ("sotto.v1.StepReport.step"). Nothing: the field is not in the
// table.
std::optional<FieldClass> ClassOf(absl::string_view full_name);

// Removes from `message`, however deeply nested, every field that `audience` may not see and every
// field, known or unknown to this build, that is not in the table. Guarantee: after this call no
// set field of `message` is unclassified, and for kReaders none is kSteward.
void KeepOnlyVisible(Audience audience, google::protobuf::Message& message);

// Full names of the table's rows, for the test that compares them with the descriptors.
std::vector<std::string> ClassifiedFields();

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_FIELD_CLASSES_H_
