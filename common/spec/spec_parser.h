// A JobSpec from text, strictly.
#ifndef SOTTO_COMMON_SPEC_SPEC_PARSER_H_
#define SOTTO_COMMON_SPEC_SPEC_PARSER_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::spec {

enum class Format { kYaml, kJson, kTextProto };

// By the file's ending: .yaml .yml .json .textproto .txtpb .pbtxt; YAML for every other.
Format FormatOf(absl::string_view path);

// Walks the text against the message descriptor. INVALID_ARGUMENT carries every violation found
// (violation.h), with its line: text that is not of the format, unknown and duplicate fields, two
// members of a oneof, a second document, trailing data, values of the wrong type, integers out of
// range, NaN and infinities, unknown enum names, empty text, 0 where a field that is left out means
// another number that 0 would silently become. Field names are those of spec.proto.
// YAML takes only plain scalars and quoted strings: no anchors, aliases or tags; a quoted scalar is
// a string and no number; `yes` is no bool. Values' meanings are checked by planning.
absl::StatusOr<v1::JobSpec> ParseJobSpec(absl::string_view text, Format format);

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_SPEC_PARSER_H_
