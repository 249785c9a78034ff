// The log: one JSON object per line on stderr. `SOTTO_LOG(INFO) << "rank " << rank << " attached";`
// Logs never contain examples, norms, sampled indices, sampled batch sizes or keys. (ATen defines
// LOG and CHECK, hence the prefix.)
#ifndef SOTTO_COMMON_BASE_LOG_H_
#define SOTTO_COMMON_BASE_LOG_H_

#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/optimization.h"
#include "absl/status/status.h"

namespace sotto {

enum class LogSeverity { kINFO, kWARNING, kERROR, kFATAL };

// Fields added to every line from now on, such as {"process", "worker"} and {"rank", "1"}. Call
// once, in main.
void SetLogFields(const std::vector<std::pair<std::string, std::string>>& fields);

// Lines below this severity are dropped. The default is kINFO.
void SetMinLogSeverity(LogSeverity severity);

// Collects one line and writes it when destroyed; kFATAL then aborts. Thread-safe across messages.
class LogMessage {
 public:
  LogMessage(LogSeverity severity, const char* file, int line);
  ~LogMessage();

  LogMessage(const LogMessage&) = delete;
  LogMessage& operator=(const LogMessage&) = delete;

  std::ostream& stream() { return stream_; }

 private:
  LogSeverity severity_;
  const char* file_;
  int line_;
  std::ostringstream stream_;
};

namespace log_internal {

// Gives both arms of SOTTO_CHECK's conditional the type void.
struct Voidify {
  void operator&(std::ostream&) const {}
};

// `text` as the inside of a JSON string; bytes that are not valid UTF-8 become U+FFFD.
std::string EscapeJson(const std::string& text);

}  // namespace log_internal
}  // namespace sotto

// severity: INFO, WARNING or ERROR.
#define SOTTO_LOG(severity) \
  ::sotto::LogMessage(::sotto::LogSeverity::k##severity, __FILE__, __LINE__).stream()

// Aborts with a message when our own invariant is broken. Never for user input, peers, disks or
// drivers.
#define SOTTO_CHECK(condition)                                                           \
  ABSL_PREDICT_TRUE(condition)                                                           \
  ? (void)0                                                                              \
  : ::sotto::log_internal::Voidify() &                                                   \
          ::sotto::LogMessage(::sotto::LogSeverity::kFATAL, __FILE__, __LINE__).stream() \
              << "broken invariant: " #condition " "

#define SOTTO_CHECK_OK(expr)                                    \
  do {                                                          \
    const ::absl::Status sotto_check_status = (expr);           \
    SOTTO_CHECK(sotto_check_status.ok()) << sotto_check_status; \
  } while (false)

#endif  // SOTTO_COMMON_BASE_LOG_H_
