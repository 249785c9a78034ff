#include "server/api/field_classes.h"

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/unknown_field_set.h"
#include "server/api/field_table.h"

namespace sotto::api {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

absl::flat_hash_map<std::string, FieldClass> BuildTable() {
  absl::flat_hash_map<std::string, FieldClass> table;
  for (const FieldTableRow& row : kFieldTable) {
    for (absl::string_view field : absl::StrSplit(row.fields, ' ', absl::SkipWhitespace())) {
      table.emplace(absl::StrCat(row.message, ".", field), row.field_class);
    }
  }
  return table;
}

const absl::flat_hash_map<std::string, FieldClass>& Table() {
  static const auto* const table = new absl::flat_hash_map<std::string, FieldClass>(BuildTable());
  return *table;
}

bool IsVisible(Audience audience, const FieldDescriptor& field) {
  const std::optional<FieldClass> field_class = ClassOf(field.full_name());
  if (!field_class.has_value()) return false;
  return *field_class != FieldClass::kSteward || audience == Audience::kSteward;
}

// Well-known types (timestamps) are values, not structures of ours.
bool IsOurMessage(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type()->file()->package() == "sotto.v1";
}

}  // namespace

std::optional<FieldClass> ClassOf(absl::string_view full_name) {
  const auto row = Table().find(full_name);
  if (row == Table().end()) return std::nullopt;
  return row->second;
}

void KeepOnlyVisible(Audience audience, Message& message) {
  const Reflection& reflection = *message.GetReflection();
  reflection.MutableUnknownFields(&message)->Clear();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (!IsVisible(audience, *field)) {
      reflection.ClearField(&message, field);
      continue;
    }
    if (!IsOurMessage(*field)) continue;
    if (!field->is_repeated()) {
      KeepOnlyVisible(audience, *reflection.MutableMessage(&message, field));
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      KeepOnlyVisible(audience, *reflection.MutableRepeatedMessage(&message, field, i));
    }
  }
}

std::vector<std::string> ClassifiedFields() {
  std::vector<std::string> names;
  for (const auto& [name, field_class] : Table()) names.push_back(name);
  return names;
}

}  // namespace sotto::api
