// absl::Time as protobuf's Timestamp.
#ifndef SOTTO_SERVER_SCHEDULER_PROTO_TIME_H_
#define SOTTO_SERVER_SCHEDULER_PROTO_TIME_H_

#include <cstdint>

#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"

namespace sotto::scheduler {

inline google::protobuf::Timestamp ToProto(absl::Time time) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(seconds);
  timestamp.set_nanos(
      static_cast<int>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return timestamp;
}

inline absl::Time FromProto(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

}  // namespace sotto::scheduler

#endif  // SOTTO_SERVER_SCHEDULER_PROTO_TIME_H_
