#include "common/spec/config_reader.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace sotto::spec {

const nlohmann::json* ConfigReader::Find(std::initializer_list<const char*> names) const {
  for (const char* name : names) {
    const auto member = object_.find(name);
    if (member == object_.end() || member->is_null()) continue;
    found_ = name;
    return &*member;
  }
  return nullptr;
}

void ConfigReader::Refuse(const std::string& name, const std::string& rule) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(absl::StrCat(where_, ": ", name, " ", rule));
}

int64_t ConfigReader::Int(std::initializer_list<const char*> names, int64_t absent) {
  const nlohmann::json* value = Find(names);
  if (value == nullptr) return absent;
  if (value->is_number_integer()) return value->get<int64_t>();
  if (value->is_number_float()) {
    const double number = value->get<double>();
    if (std::nearbyint(number) == number && std::abs(number) < 0x1p53) {
      return static_cast<int64_t>(number);
    }
  }
  Refuse(found_, absl::StrCat("must be a whole number, but is ", value->dump()));
  return absent;
}

int64_t ConfigReader::IntUpTo(int64_t most, std::initializer_list<const char*> names,
                              int64_t absent) {
  const int64_t value = Int(names, absent);
  if (value > most) Refuse(found_, absl::StrCat("must be at most ", most, ", but is ", value));
  return value;
}

double ConfigReader::Number(const char* name, double absent) {
  const nlohmann::json* value = Find({name});
  if (value == nullptr) return absent;
  if (value->is_number()) return value->get<double>();
  Refuse(name, absl::StrCat("must be a number, but is ", value->dump()));
  return absent;
}

bool ConfigReader::Bool(const char* name, bool absent) {
  const nlohmann::json* value = Find({name});
  if (value == nullptr) return absent;
  if (value->is_boolean()) return value->get<bool>();
  Refuse(name, absl::StrCat("must be true or false, but is ", value->dump()));
  return absent;
}

std::string ConfigReader::Text(std::initializer_list<const char*> names,
                               const std::string& absent) {
  const nlohmann::json* value = Find(names);
  if (value == nullptr) return absent;
  if (value->is_string()) return value->get<std::string>();
  Refuse(found_, absl::StrCat("must be a string, but is ", value->dump()));
  return absent;
}

const nlohmann::json* ConfigReader::Object(const char* name) {
  const nlohmann::json* value = Find({name});
  if (value == nullptr || value->is_object()) return value;
  Refuse(name, absl::StrCat("must be an object, but is ", value->dump()));
  return nullptr;
}

}  // namespace sotto::spec
