// Typed reads of one JSON object's members, for configurations that others wrote.
#ifndef SOTTO_COMMON_SPEC_CONFIG_READER_H_
#define SOTTO_COMMON_SPEC_CONFIG_READER_H_

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace sotto::spec {

// Remembers the first fault; reads after it give defaults. A member that is null counts as absent.
// Where several names are given, the first that is there wins. Externally synchronised.
class ConfigReader {
 public:
  // `where` names the object in messages: "config.json". Borrows `object`.
  ConfigReader(const nlohmann::json& object, std::string where)
      : object_(object), where_(std::move(where)) {}

  bool Has(const char* name) const { return Find({name}) != nullptr; }
  // There, but null.
  bool IsNull(const char* name) const {
    const auto member = object_.find(name);
    return member != object_.end() && member->is_null();
  }
  int64_t Int(std::initializer_list<const char*> names, int64_t absent);
  // Refuses a value above `most`.
  int64_t IntUpTo(int64_t most, std::initializer_list<const char*> names, int64_t absent);
  double Number(const char* name, double absent);
  bool Bool(const char* name, bool absent);
  std::string Text(std::initializer_list<const char*> names, const std::string& absent);
  // Null when it is absent.
  const nlohmann::json* Object(const char* name);

  // Makes `status()` say that the member `name` breaks `rule`.
  void Refuse(const std::string& name, const std::string& rule);

  const absl::Status& status() const { return status_; }

 private:
  const nlohmann::json* Find(std::initializer_list<const char*> names) const;

  const nlohmann::json& object_;
  const std::string where_;
  mutable std::string found_;  // the name that Find took
  absl::Status status_;
};

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_CONFIG_READER_H_
