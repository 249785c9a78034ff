#include "common/base/log.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <cstdlib>
#include <memory>

namespace sotto {
namespace {

spdlog::level::level_enum ToLevel(LogSeverity severity) {
  switch (severity) {
    case LogSeverity::kINFO:
      return spdlog::level::info;
    case LogSeverity::kWARNING:
      return spdlog::level::warn;
    case LogSeverity::kERROR:
      return spdlog::level::err;
    case LogSeverity::kFATAL:
      return spdlog::level::critical;
  }
  return spdlog::level::critical;
}

// Every line is one object: time (UTC), severity, the process's fields, then what the message
// itself adds.
void SetPattern(spdlog::logger& logger, const std::string& fields) {
  logger.set_formatter(std::make_unique<spdlog::pattern_formatter>(
      R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","severity":"%l",)" + fields + "%v}",
      spdlog::pattern_time_type::utc));
}

spdlog::logger& Logger() {
  // Never destroyed: destructors of other static objects may log.
  static spdlog::logger* logger = [] {
    auto* created = new spdlog::logger("sotto", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    created->flush_on(spdlog::level::info);
    SetPattern(*created, "");
    return created;
  }();
  return *logger;
}

// Length in bytes of the valid UTF-8 sequence at `index`, or 0.
int Utf8Length(const std::string& text, size_t index) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(index);
  if (lead < 0x80) return 1;
  const int length = lead >= 0xC2 && lead <= 0xDF   ? 2
                     : lead >= 0xE0 && lead <= 0xEF ? 3
                     : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                    : 0;
  if (length == 0 || index + length > text.size()) return 0;
  for (int i = 1; i < length; ++i) {
    if ((byte(index + i) & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = byte(index + 1);
  const bool is_invalid = (lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
                          (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F);
  return is_invalid ? 0 : length;
}

const char* Basename(const char* path) {
  const char* name = path;
  for (const char* c = path; *c != '\0'; ++c) {
    if (*c == '/') name = c + 1;
  }
  return name;
}

}  // namespace

namespace log_internal {

std::string EscapeJson(const std::string& text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string escaped;
  escaped.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const unsigned char c = text[i];
    const int length = Utf8Length(text, i);
    if (c == '"' || c == '\\') {
      escaped += {'\\', static_cast<char>(c)};
    } else if (c == '\n') {
      escaped += "\\n";
    } else if (c < 0x20) {
      escaped += {'\\', 'u', '0', '0', kHex[c >> 4], kHex[c & 15]};
    } else if (length == 0) {
      escaped += "\\ufffd";
    } else {
      escaped.append(text, i, length);
    }
    i += length == 0 ? 1 : length;
  }
  return escaped;
}

}  // namespace log_internal

void SetLogFields(const std::vector<std::pair<std::string, std::string>>& fields) {
  std::string pattern;
  for (const auto& [name, value] : fields) {
    std::string field =
        "\"" + log_internal::EscapeJson(name) + "\":\"" + log_internal::EscapeJson(value) + "\",";
    for (char c : field) {
      pattern += c;
      if (c == '%') pattern += '%';  // The pattern's own escape.
    }
  }
  SetPattern(Logger(), pattern);
}

void SetMinLogSeverity(LogSeverity severity) { Logger().set_level(ToLevel(severity)); }

LogMessage::LogMessage(LogSeverity severity, const char* file, int line)
    : severity_(severity), file_(file), line_(line) {}

LogMessage::~LogMessage() {
  const std::string line = "\"source\":\"" + std::string(Basename(file_)) + ":" +
                           std::to_string(line_) + "\",\"message\":\"" +
                           log_internal::EscapeJson(stream_.str()) + "\"";
  Logger().log(ToLevel(severity_), spdlog::string_view_t(line.data(), line.size()));
  if (severity_ == LogSeverity::kFATAL) std::abort();
}

}  // namespace sotto
