// Logging as one-line JSON on stderr, behind two macros whose names clash with neither ATen's nor Abseil's.
// Messages never contain examples, norms, sampled indices, sampled batch sizes or keys: logs are files that people read.
#ifndef SOTTO_COMMON_BASE_LOG_H_
#define SOTTO_COMMON_BASE_LOG_H_

#include <sstream>
#include <string>

namespace sotto {

enum class LogSeverity { INFO, WARNING, ERROR };

// Sets what every later line of this process says in its field "process" ("coordinator", "worker job-3/1/0").
// Call it once, before other threads start.
void SetLogProcess(const std::string& process);

// One message; written when it is destroyed. Thread-safe: a line is one write.
class LogMessage {
 public:
  LogMessage(LogSeverity severity, const char* file, int line);
  ~LogMessage();

  LogMessage(const LogMessage&) = delete;
  LogMessage& operator=(const LogMessage&) = delete;

  std::ostream& stream() { return stream_; }

 private:
  const LogSeverity severity_;
  const char* const file_;
  const int line_;
  std::ostringstream stream_;
};

// A broken invariant of our own: logs and aborts. User input, peers, disks and drivers never reach one.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition);
  [[noreturn]] ~CheckFailure();

  std::ostream& stream() { return stream_; }

 private:
  const char* const file_;
  const int line_;
  std::ostringstream stream_;
};

namespace log_internal {

// Lets a streamed expression stand where void is expected.
struct Voidify {
  void operator&(std::ostream&) {}
};

}  // namespace log_internal
}  // namespace sotto

// SOTTO_LOG(INFO) << "listening on " << address;
#define SOTTO_LOG(severity) \
  ::sotto::LogMessage(::sotto::LogSeverity::severity, __FILE__, __LINE__).stream()

// SOTTO_CHECK(index < size) << "index " << index;
#define SOTTO_CHECK(condition)                     \
  (condition) ? static_cast<void>(0)               \
              : ::sotto::log_internal::Voidify() & \
                    ::sotto::CheckFailure(__FILE__, __LINE__, #condition).stream()

#endif  // SOTTO_COMMON_BASE_LOG_H_
