// Options that verbs share, and what options must be, said in the words of our other errors.
#ifndef SOTTO_CLIENT_CLI_VALIDATORS_H_
#define SOTTO_CLIENT_CLI_VALIDATORS_H_

#include <cstdlib>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"

namespace sotto::cli {

// `is_valid` of the number; what is no number at all is refused when it is read.
template <typename Predicate>
CLI::Validator Must(const std::string& rule, Predicate is_valid) {
  return CLI::Validator(
      [rule, is_valid](std::string& text) {
        char* end = nullptr;
        const double value = std::strtod(text.c_str(), &end);
        if (end == text.c_str() || *end != '\0' || is_valid(value)) return std::string();
        return absl::StrCat("must be ", rule, ", but is ", text);
      },
      /*validator_desc=*/"");
}

inline CLI::Validator AtLeast(int least) {
  return Must(absl::StrCat("at least ", least), [least](double value) { return value >= least; });
}

inline CLI::Validator Positive() {
  return Must("above 0", [](double value) { return value > 0; });
}

// --slots of verbs that may start a coordinator of their own.
inline void AddSlots(CLI::App& verb, int& slots) {
  verb.add_option("--slots", slots,
                  "workers at once of the coordinator, when one is started; unset: one per core")
      ->check(AtLeast(1));
}

}  // namespace sotto::cli

#endif  // SOTTO_CLIENT_CLI_VALIDATORS_H_
