// Text of one of the formats to a Node. Syntax only; meanings are message_walker.h's.
#ifndef SOTTO_COMMON_SPEC_READER_H_
#define SOTTO_COMMON_SPEC_READER_H_

#include <vector>

#include "absl/strings/string_view.h"
#include "common/spec/node.h"
#include "common/spec/violation.h"

namespace sotto::spec {

// No violations: `root` is the document.
struct ReadResult {
  Node root;
  std::vector<Violation> violations;
};

// Nesting beyond this is refused: no message is this deep.
inline constexpr int kMaxDepth = 32;

// One YAML 1.2 document of plain and quoted scalars, mappings and sequences.
ReadResult ReadYaml(absl::string_view text);

// One JSON document (RFC 8259).
ReadResult ReadJson(absl::string_view text);

// Protobuf's text format: `name: value`, `name { ... }`, `name: [a, b]`, comments.
ReadResult ReadTextProto(absl::string_view text);

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_READER_H_
