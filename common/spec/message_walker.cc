#include "common/spec/message_walker.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/log.h"
#include "google/protobuf/descriptor.h"

namespace sotto::spec {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;

constexpr size_t kLongestShownValue = 80;

std::string Shown(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kNull:
      return "empty";
    case Node::Kind::kMap:
      return "a mapping";
    case Node::Kind::kList:
      return "a sequence";
    case Node::Kind::kScalar:
      break;
  }
  if (node.text.size() <= kLongestShownValue) {
    return node.style == Node::Style::kString ? absl::StrCat("\"", node.text, "\"") : node.text;
  }
  return absl::StrCat(node.text.substr(0, kLongestShownValue), "...");
}

// A number as JSON writes it, a leading + and a text proto's trailing f allowed.
bool IsNumber(absl::string_view text) {
  size_t at = 0;
  const auto digits = [&] {
    const size_t first = at;
    while (at < text.size() && absl::ascii_isdigit(text[at])) ++at;
    return at > first;
  };
  if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
  const bool whole = digits();
  bool fraction = false;
  if (at < text.size() && text[at] == '.') {
    ++at;
    fraction = digits();
  }
  if (!whole && !fraction) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    if (!digits()) return false;
  }
  if (at + 1 == text.size() && text[at] == 'f') ++at;
  return at == text.size();
}

bool IsInteger(absl::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  if (text.empty()) return false;
  for (char c : text) {
    if (!absl::ascii_isdigit(c)) return false;
  }
  return true;
}

// Plain YAML that another schema would take for a number or a bool is no string.
bool LooksLikeAnotherType(absl::string_view text) {
  return IsNumber(text) || text == "true" || text == "false";
}

class Walker {
 public:
  explicit Walker(const WalkOptions& options) : options_(options) {}

  void WalkFields(const Node& node, const std::string& path, Message& message) {
    if (node.kind != Node::Kind::kMap) {
      Refuse(path, "must be a mapping of fields", Shown(node), node.line);
      return;
    }
    const Descriptor& descriptor = *message.GetDescriptor();
    std::map<const FieldDescriptor*, int> seen;  // first line
    std::map<const OneofDescriptor*, std::string> chosen;
    for (const NodeEntry& entry : node.entries) {
      const std::string field_path = path.empty() ? entry.key : absl::StrCat(path, ".", entry.key);
      const FieldDescriptor* field = descriptor.FindFieldByName(entry.key);
      if (field == nullptr) {
        Refuse(field_path, absl::StrCat("is not a field; there are ", FieldNames(descriptor)), "",
               entry.line);
        continue;
      }
      const auto [first, is_first] = seen.emplace(field, entry.line);
      if (!is_first && !(options_.repeat_by_name && field->is_repeated())) {
        Refuse(field_path, absl::StrCat("is given twice, first in line ", first->second), "",
               entry.line);
        continue;
      }
      if (const OneofDescriptor* oneof = field->real_containing_oneof(); oneof != nullptr) {
        const auto [other, is_only] = chosen.emplace(oneof, entry.key);
        if (!is_only) {
          Refuse(field_path, absl::StrCat("excludes ", other->second, ": give one of them"), "",
                 entry.line);
          continue;
        }
      }
      WalkField(entry.value, field_path, *field, message);
    }
  }

  std::vector<Violation> TakeViolations() { return std::move(violations_); }

 private:
  void WalkField(const Node& node, const std::string& path, const FieldDescriptor& field,
                 Message& message) {
    if (!field.is_repeated()) {
      WalkValue(node, path, field, message);
    } else if (node.kind == Node::Kind::kList) {
      for (size_t i = 0; i < node.items.size(); ++i) {
        WalkValue(node.items[i], absl::StrCat(path, "[", i, "]"), field, message);
      }
    } else if (options_.repeat_by_name) {
      WalkValue(node, path, field, message);
    } else {
      Refuse(path, "must be a sequence", Shown(node), node.line);
    }
  }

  void WalkValue(const Node& node, const std::string& path, const FieldDescriptor& field,
                 Message& message) {
    const google::protobuf::Reflection& reflection = *message.GetReflection();
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      WalkFields(node, path,
                 field.is_repeated() ? *reflection.AddMessage(&message, &field)
                                     : *reflection.MutableMessage(&message, &field));
      return;
    }
    std::string rule;
    if (node.kind != Node::Kind::kScalar) {
      rule = absl::StrCat("must be ", Article(field));
    } else {
      rule = SetScalar(node, field, message);
      if (rule.empty() && IsForbiddenZero(node, path)) rule = "must not be 0; it may be left out";
    }
    if (!rule.empty()) Refuse(path, rule, Shown(node), node.line);
  }

  // Sets the field, or gives the rule that the scalar breaks.
  std::string SetScalar(const Node& node, const FieldDescriptor& field, Message& message) {
    const google::protobuf::Reflection& reflection = *message.GetReflection();
#define SOTTO_SET(Type, value)                                        \
  field.is_repeated() ? reflection.Add##Type(&message, &field, value) \
                      : reflection.Set##Type(&message, &field, value)
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        if (!IsString(node)) return "must be a string";
        SOTTO_SET(String, node.text);
        return "";
      case FieldDescriptor::CPPTYPE_BOOL:
        if (!IsUnquoted(node, Node::Style::kBool) ||
            (node.text != "true" && node.text != "false")) {
          return "must be true or false";
        }
        SOTTO_SET(Bool, node.text == "true");
        return "";
      case FieldDescriptor::CPPTYPE_DOUBLE: {
        double value = 0;
        if (!IsUnquoted(node, Node::Style::kNumber) || !ParseDouble(node.text, value)) {
          return "must be a finite number";
        }
        SOTTO_SET(Double, value);
        return "";
      }
      case FieldDescriptor::CPPTYPE_INT32: {
        int32_t value = 0;
        if (!ParseInteger(node, value)) return "must be an integer of 32 bits";
        SOTTO_SET(Int32, value);
        return "";
      }
      case FieldDescriptor::CPPTYPE_INT64: {
        int64_t value = 0;
        if (!ParseInteger(node, value)) return "must be an integer of 64 bits";
        SOTTO_SET(Int64, value);
        return "";
      }
      case FieldDescriptor::CPPTYPE_UINT64: {
        uint64_t value = 0;
        if (!ParseInteger(node, value)) return "must be a non-negative integer of 64 bits";
        SOTTO_SET(UInt64, value);
        return "";
      }
      case FieldDescriptor::CPPTYPE_ENUM: {
        const EnumValueDescriptor* value = field.enum_type()->FindValueByName(node.text);
        if (value == nullptr || node.style == Node::Style::kNumber) {
          return absl::StrCat("must be one of ", EnumNames(field));
        }
        SOTTO_SET(Enum, value);
        return "";
      }
      default:
        SOTTO_CHECK(false) << field.full_name() << " has a type that specs do not use";
        return "";
    }
#undef SOTTO_SET
  }

  bool IsForbiddenZero(const Node& node, const std::string& path) const {
    double value = 0;
    return std::find(options_.never_zero.begin(), options_.never_zero.end(), path) !=
               options_.never_zero.end() &&
           ParseDouble(node.text, value) && value == 0;
  }

  bool IsString(const Node& node) const {
    if (node.style == Node::Style::kString) return true;
    // An identifier of a text proto is no string; plain YAML mostly is.
    return node.style == Node::Style::kPlain && !options_.repeat_by_name &&
           !LooksLikeAnotherType(node.text);
  }

  static bool IsUnquoted(const Node& node, Node::Style style) {
    return node.style == Node::Style::kPlain || node.style == style;
  }

  static bool ParseDouble(absl::string_view text, double& value) {
    if (!IsNumber(text)) return false;
    if (absl::EndsWith(text, "f")) text.remove_suffix(1);
    return absl::SimpleAtod(text, &value) && std::isfinite(value);
  }

  template <typename Integer>
  static bool ParseInteger(const Node& node, Integer& value) {
    return IsUnquoted(node, Node::Style::kNumber) && IsInteger(node.text) &&
           absl::SimpleAtoi(node.text, &value);
  }

  static std::string Article(const FieldDescriptor& field) {
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_STRING:
        return "a string";
      case FieldDescriptor::CPPTYPE_BOOL:
        return "true or false";
      case FieldDescriptor::CPPTYPE_DOUBLE:
        return "a finite number";
      case FieldDescriptor::CPPTYPE_ENUM:
        return absl::StrCat("one of ", EnumNames(field));
      default:
        return "an integer";
    }
  }

  static std::string EnumNames(const FieldDescriptor& field) {
    std::vector<std::string> names;
    for (int i = 0; i < field.enum_type()->value_count(); ++i) {
      names.push_back(field.enum_type()->value(i)->name());
    }
    return absl::StrJoin(names, ", ");
  }

  static std::string FieldNames(const Descriptor& descriptor) {
    std::vector<std::string> names;
    for (int i = 0; i < descriptor.field_count(); ++i) names.push_back(descriptor.field(i)->name());
    return absl::StrJoin(names, ", ");
  }

  void Refuse(std::string path, std::string rule, std::string value, int line) {
    violations_.push_back({std::move(path), std::move(rule), std::move(value), line});
  }

  const WalkOptions& options_;
  std::vector<Violation> violations_;
};

}  // namespace

std::vector<Violation> WalkMessage(const Node& root, const WalkOptions& options,
                                   google::protobuf::Message& message) {
  Walker walker(options);
  walker.WalkFields(root, "", message);
  return walker.TakeViolations();
}

}  // namespace sotto::spec
