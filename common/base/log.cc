#include "common/base/log.h"

#include <cstdlib>
#include <string>

#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace sotto {
namespace {

std::string& Process() {
  static std::string* process = new std::string;  // Never destroyed: threads may log at exit.
  return *process;
}

spdlog::logger& Logger() {
  static spdlog::logger* logger = [] {
    auto* created = new spdlog::logger("sotto", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    created->set_pattern("%v");
    created->flush_on(spdlog::level::trace);
    return created;
  }();
  return *logger;
}

// The text inside a JSON string: quotes, backslashes and control characters escaped.
std::string JsonEscaped(const std::string& text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string escaped;
  escaped.reserve(text.size() + 8);
  for (unsigned char c : text) {
    if (c == '"' || c == '\\') {
      escaped += '\\';
      escaped += static_cast<char>(c);
    } else if (c == '\n') {
      escaped += "\\n";
    } else if (c < 0x20) {
      escaped += "\\u00";
      escaped += kHex[c >> 4];
      escaped += kHex[c & 15];
    } else {
      escaped += static_cast<char>(c);
    }
  }
  return escaped;
}

void Write(spdlog::level::level_enum level, const char* name, const char* file, int line,
           const std::string& message) {
  const spdlog::log_clock::time_point now = spdlog::log_clock::now();
  const auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
  Logger().log(level,
               "{{\"time\":{}.{:06d},\"severity\":\"{}\",\"process\":\"{}\",\"source\":\"{}:{}\","
               "\"message\":\"{}\"}}",
               micros / 1000000, micros % 1000000, name, JsonEscaped(Process()), file, line,
               JsonEscaped(message));
}

}  // namespace

void SetLogProcess(const std::string& process) { Process() = process; }

LogMessage::LogMessage(LogSeverity severity, const char* file, int line)
    : severity_(severity), file_(file), line_(line) {}

LogMessage::~LogMessage() {
  switch (severity_) {
    case LogSeverity::INFO:
      return Write(spdlog::level::info, "info", file_, line_, stream_.str());
    case LogSeverity::WARNING:
      return Write(spdlog::level::warn, "warning", file_, line_, stream_.str());
    case LogSeverity::ERROR:
      return Write(spdlog::level::err, "error", file_, line_, stream_.str());
  }
}

CheckFailure::CheckFailure(const char* file, int line, const char* condition)
    : file_(file), line_(line) {
  stream_ << "check failed: " << condition << " ";
}

CheckFailure::~CheckFailure() {
  Write(spdlog::level::critical, "fatal", file_, line_, stream_.str());
  std::abort();
}

}  // namespace sotto
