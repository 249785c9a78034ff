#include "common/checkpoint/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace sotto::checkpoint {
namespace {

using Json = nlohmann::json;

constexpr char kMetadata[] = "__metadata__";
// More than any file of ours; a header of nothing but names cannot exhaust the memory.
constexpr size_t kMaxTensors = 1'000'000;
constexpr size_t kMaxNameLength = 4096;
constexpr int kMaxDepth = 3;  // file > tensor > array

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("safetensors header: ", what));
}

// Names come from the file: no more of one than a reader wants to see.
std::string Shown(absl::string_view name) {
  constexpr size_t kShown = 200;
  return name.size() <= kShown ? std::string(name) : absl::StrCat(name.substr(0, kShown), "...");
}

absl::Status MalformedTensor(absl::string_view name, absl::string_view what) {
  return Malformed(absl::StrCat("tensor ", Shown(name), ": ", what));
}

// Parses without exceptions; refuses duplicate names and depths that no header has.
absl::StatusOr<Json> ParseStrictly(absl::string_view text) {
  std::vector<std::set<std::string>> names;  // of the objects that are open
  std::string fault;
  const auto check = [&](int depth, Json::parse_event_t event, Json& value) {
    switch (event) {
      case Json::parse_event_t::object_start:
        names.emplace_back();
        [[fallthrough]];
      case Json::parse_event_t::array_start:
        if (depth >= kMaxDepth) fault = "nested too deeply";
        break;
      case Json::parse_event_t::object_end:
        names.pop_back();
        break;
      case Json::parse_event_t::key: {
        const std::string& name = value.get_ref<const std::string&>();
        if (name.size() > kMaxNameLength) fault = "a name is too long";
        if (!names.back().insert(name).second) {
          fault = absl::StrCat("the name ", Shown(name), " stands twice");
        }
        if (names.back().size() > kMaxTensors + 1) fault = "too many tensors";
        break;
      }
      default:
        break;
    }
    return true;
  };
  Json parsed = Json::parse(text.begin(), text.end(), check, /*allow_exceptions=*/false);
  if (!fault.empty()) return Malformed(fault);
  if (!parsed.is_object()) return Malformed("not a JSON object");
  return parsed;
}

// The number of elements, or an error when it does not fit.
absl::StatusOr<uint64_t> CountElements(const SafetensorsEntry& entry) {
  uint64_t count = 1;
  for (const int64_t extent : entry.shape) {
    if (__builtin_mul_overflow(count, static_cast<uint64_t>(extent), &count)) {
      return MalformedTensor(entry.name, "its shape is too large");
    }
  }
  return count;
}

absl::Status ParseShape(const Json& value, SafetensorsEntry& entry) {
  if (!value.is_array()) return MalformedTensor(entry.name, "its shape is not an array");
  for (const Json& extent : value) {
    if (!extent.is_number_unsigned() ||
        extent.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return MalformedTensor(entry.name, "an extent is not a natural number");
    }
    entry.shape.push_back(extent.get<int64_t>());
  }
  return absl::OkStatus();
}

absl::StatusOr<SafetensorsEntry> ParseEntry(const std::string& name, const Json& value) {
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
      !value.contains("shape") || !value.contains("data_offsets")) {
    return MalformedTensor(name, "it does not have exactly dtype, shape and data_offsets");
  }
  SafetensorsEntry entry;
  entry.name = name;
  if (!value["dtype"].is_string()) return MalformedTensor(name, "its dtype is not a string");
  entry.dtype = value["dtype"].get<std::string>();
  RETURN_IF_ERROR(ParseShape(value["shape"], entry));
  const Json& offsets = value["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return MalformedTensor(name, "data_offsets are not two natural numbers");
  }
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();

  ASSIGN_OR_RETURN(const uint64_t elements, CountElements(entry));
  const int item_bytes = ItemBytes(entry.dtype);
  if (item_bytes == 0) {
    return MalformedTensor(name, absl::StrCat("its dtype ", Shown(entry.dtype), " is not known"));
  }
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(elements, static_cast<uint64_t>(item_bytes), &bytes)) {
    return MalformedTensor(name, "it is too large");
  }
  if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
    return MalformedTensor(
        name, absl::StrCat("data_offsets [", entry.begin, ", ", entry.end,
                           ") do not match its shape and dtype, which take ", bytes, " bytes"));
  }
  return entry;
}

absl::Status ParseMetadata(const Json& value, SafetensorsHeader& header) {
  if (!value.is_object()) return Malformed("__metadata__ is not an object");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) return Malformed("__metadata__ holds more than strings");
    header.metadata[key] = text.get<std::string>();
  }
  return absl::OkStatus();
}

}  // namespace

int64_t SafetensorsEntry::num_elements() const {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

int ItemBytes(absl::string_view dtype) {
  if (dtype == "F64" || dtype == "I64" || dtype == "U64") return 8;
  if (dtype == "F32" || dtype == "I32" || dtype == "U32") return 4;
  if (dtype == "F16" || dtype == "BF16" || dtype == "I16" || dtype == "U16") return 2;
  if (dtype == "I8" || dtype == "U8" || dtype == "BOOL" || dtype == "F8_E4M3" ||
      dtype == "F8_E5M2") {
    return 1;
  }
  return 0;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view json,
                                                         uint64_t data_bytes) {
  ASSIGN_OR_RETURN(const Json parsed, ParseStrictly(json));
  SafetensorsHeader header;
  for (const auto& [name, value] : parsed.items()) {
    if (name == kMetadata) {
      RETURN_IF_ERROR(ParseMetadata(value, header));
      continue;
    }
    ASSIGN_OR_RETURN(SafetensorsEntry entry, ParseEntry(name, value));
    header.entries.push_back(std::move(entry));
  }
  std::sort(header.entries.begin(), header.entries.end(),
            [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
              return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
            });
  uint64_t covered = 0;
  for (const SafetensorsEntry& entry : header.entries) {
    if (entry.begin != covered) {
      return MalformedTensor(entry.name, absl::StrCat("it begins at byte ", entry.begin,
                                                      ", but the one before ends at ", covered,
                                                      ": they overlap or leave a hole"));
    }
    covered = entry.end;
  }
  if (covered != data_bytes) {
    return Malformed(absl::StrCat("tensors take ", covered, " bytes, but the file holds ",
                                  data_bytes, " and they must cover it"));
  }
  return header;
}

std::string FormatSafetensorsHeader(const SafetensorsHeader& header) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) json[kMetadata] = header.metadata;
  for (const SafetensorsEntry& entry : header.entries) {
    json[entry.name] = {
        {"dtype", entry.dtype}, {"shape", entry.shape}, {"data_offsets", {entry.begin, entry.end}}};
  }
  std::string text = json.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace sotto::checkpoint
