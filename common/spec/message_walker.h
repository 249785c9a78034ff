// Fills a message from a tree, against the message's descriptor.
#ifndef SOTTO_COMMON_SPEC_MESSAGE_WALKER_H_
#define SOTTO_COMMON_SPEC_MESSAGE_WALKER_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "common/spec/node.h"
#include "common/spec/violation.h"
#include "google/protobuf/message.h"

namespace sotto::spec {

struct WalkOptions {
  bool repeat_by_name = false;  // text protos write a repeated field's values as repeated fields
  // Paths of numbers whose 0 a message cannot tell from unset, which means something else: to be
  // refused while the text says which it is.
  absl::Span<const absl::string_view> never_zero;
};

// Gives everything that does not fit, in document order. What fits is set in `message`.
// Knows strings, bools, int32, int64, uint64, doubles, enums, messages, and repeated ones of these.
std::vector<Violation> WalkMessage(const Node& root, const WalkOptions& options,
                                   google::protobuf::Message& message);

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_MESSAGE_WALKER_H_
