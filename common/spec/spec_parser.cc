#include "common/spec/spec_parser.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/spec/message_walker.h"
#include "common/spec/reader.h"
#include "common/spec/violation.h"

namespace sotto::spec {
namespace {

constexpr size_t kMaxSpecBytes = 1 << 20;

// Unset they are 1 and 64.
constexpr absl::string_view kNeverZero[] = {"inference.edit.scale",
                                            "inference.generate.max_new_tokens"};

ReadResult Read(absl::string_view text, Format format) {
  switch (format) {
    case Format::kJson:
      return ReadJson(text);
    case Format::kTextProto:
      return ReadTextProto(text);
    case Format::kYaml:
      break;
  }
  return ReadYaml(text);
}

}  // namespace

Format FormatOf(absl::string_view path) {
  if (absl::EndsWith(path, ".json")) return Format::kJson;
  for (absl::string_view ending : {".textproto", ".txtpb", ".pbtxt"}) {
    if (absl::EndsWith(path, ending)) return Format::kTextProto;
  }
  return Format::kYaml;
}

absl::StatusOr<v1::JobSpec> ParseJobSpec(absl::string_view text, Format format) {
  if (text.size() > kMaxSpecBytes) {
    return ViolationsError({{"", absl::StrCat("must be at most ", kMaxSpecBytes, " bytes"),
                             absl::StrCat(text.size(), " bytes")}});
  }
  ReadResult read = Read(text, format);
  if (!read.violations.empty()) return ViolationsError(read.violations);
  if (read.root.kind == Node::Kind::kNull) {
    return ViolationsError({{"", "must be a job spec", "empty", 1}});
  }
  v1::JobSpec spec;
  const std::vector<Violation> violations = WalkMessage(
      read.root, {.repeat_by_name = format == Format::kTextProto, .never_zero = kNeverZero}, spec);
  if (!violations.empty()) return ViolationsError(violations);
  return spec;
}

}  // namespace sotto::spec
