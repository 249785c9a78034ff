#include "server/api/log_stream.h"

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "server/api/errors.h"

namespace sotto::api {
namespace {

constexpr size_t kChunkBytes = 64 << 10;

// Ranks that have a log in the folder, ascending.
std::vector<int32_t> RanksWithLogs(const std::string& folder) {
  std::vector<int32_t> ranks;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    absl::string_view number = name;
    int32_t rank = 0;
    if (absl::ConsumePrefix(&number, "rank-") && absl::ConsumeSuffix(&number, ".log") &&
        absl::SimpleAtoi(number, &rank)) {
      ranks.push_back(rank);
    }
  }
  std::sort(ranks.begin(), ranks.end());
  return ranks;
}

}  // namespace

std::shared_ptr<LogStream> LogStream::Create() {
  std::shared_ptr<LogStream> stream(new LogStream());
  MutexLock lock(&stream->mutex_);
  stream->self_ = stream;
  return stream;
}

void LogStream::Begin(const Selection& selection) {
  const std::string folder = absl::StrCat(selection.job_folder, "/attempt-", selection.attempt);
  MutexLock lock(&mutex_);
  attempt_ = selection.attempt;
  for (int32_t rank : RanksWithLogs(folder)) {
    if (selection.rank >= 0 && rank != selection.rank) continue;
    files_.push_back({rank, absl::StrCat(folder, "/rank-", rank, ".log")});
  }
  if (files_.empty() && !end_.has_value()) {
    end_ = absl::NotFoundError(absl::StrCat("attempt ", selection.attempt, " has no log of rank ",
                                            selection.rank, " (yet)"));
  }
  Advance();
}

void LogStream::Close(const absl::Status& status) {
  MutexLock lock(&mutex_);
  if (!end_.has_value()) end_ = status;
  Advance();
}

void LogStream::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  write_in_flight_ = false;
  if (!ok && !end_.has_value()) end_ = absl::UnavailableError("the connection broke");
  Advance();
}

void LogStream::OnCancel() { Close(absl::CancelledError("cancelled")); }

void LogStream::OnDone() {
  std::shared_ptr<LogStream> self;
  MutexLock lock(&mutex_);
  self.swap(self_);
  // `lock` goes before `self`, which may be the last reference.
}

void LogStream::Advance() {
  if (write_in_flight_ || finished_) return;
  if (!end_.has_value()) {
    std::string text;
    const absl::Status status = ReadChunk(text);
    if (!status.ok() || text.empty()) {
      end_ = status;
    } else {
      message_.set_attempt(attempt_);
      message_.set_rank(files_.front().rank);
      message_.set_text(std::move(text));
      write_in_flight_ = true;
      StartWrite(&message_);
      return;
    }
  }
  finished_ = true;
  Finish(ToGrpcStatus(*end_));
}

absl::Status LogStream::ReadChunk(std::string& text) {
  while (!files_.empty()) {
    if (!file_.is_valid()) {
      ASSIGN_OR_RETURN(file_, OpenFile(files_.front().path, O_RDONLY));
    }
    std::string buffer(kChunkBytes - rest_.size(), '\0');
    const ssize_t count = read(file_.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return absl::ErrnoToStatus(errno, files_.front().path);
    if (count == 0) {  // The last line may lack its end.
      text = std::move(rest_);
      rest_.clear();
      if (!text.empty()) return absl::OkStatus();
      file_.Reset();
      files_.pop_front();
      continue;
    }
    buffer.resize(count);
    text = std::move(rest_) + buffer;
    // Whole lines, unless one is longer than a message.
    const size_t end = text.rfind('\n');
    rest_ = end == std::string::npos || end + 1 == text.size() ? "" : text.substr(end + 1);
    text.resize(text.size() - rest_.size());
    if (end == std::string::npos && text.size() < kChunkBytes) {
      rest_ = std::move(text);
      text.clear();
      continue;
    }
    return absl::OkStatus();
  }
  return absl::OkStatus();
}

}  // namespace sotto::api
