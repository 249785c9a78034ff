#include "tests/integration/testing/worker_trace.h"

#include <filesystem>
#include <optional>
#include <regex>
#include <set>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"

namespace sotto::integration {
namespace {

absl::Time TimeOf(const v1::LedgerEntry& entry) {
  return absl::FromUnixSeconds(entry.time().seconds()) + absl::Nanoseconds(entry.time().nanos());
}

void ReadLog(const std::string& text, int rank, std::vector<StartedStep>& trace) {
  static const std::regex kLine(
      "^\\{\"time\":\"([^\"]+)\".*\"message\":\"step ([0-9]+) of attempt ([0-9]+) starts\"\\}$");
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    std::smatch match;
    StartedStep started;
    if (!std::regex_match(line, match, kLine)) continue;
    if (!absl::ParseTime(absl::RFC3339_full, match[1].str(), &started.time, nullptr)) continue;
    started.rank = rank;
    started.step = std::stoll(match[2].str());
    started.attempt = std::stoll(match[3].str());
    trace.push_back(started);
  }
}

// Of a file in an attempt's folder.
std::optional<int> RankOfLog(const std::filesystem::path& path) {
  static const std::regex kName("rank-([0-9]+)\\.log");
  std::smatch match;
  const std::string name = path.filename().string();
  if (!std::regex_match(name, match, kName)) return std::nullopt;
  return std::stoi(match[1].str());
}

// Of every attempt and rank. Checkpoints, beside the attempts' folders, come and go meanwhile.
absl::Status ForEachLog(const std::string& state_dir, const std::string& job,
                        absl::FunctionRef<void(const std::string& text, int rank)> visit) {
  std::error_code error;
  for (const auto& attempt :
       std::filesystem::directory_iterator(absl::StrCat(state_dir, "/jobs/", job), error)) {
    if (!absl::StartsWith(attempt.path().filename().string(), "attempt-")) continue;
    for (const auto& file : std::filesystem::directory_iterator(attempt.path(), error)) {
      const std::optional<int> rank = RankOfLog(file.path());
      if (!rank.has_value()) continue;
      ASSIGN_OR_RETURN(const std::string text, ReadFile(file.path().string()));
      visit(text, *rank);
    }
  }
  if (error) return absl::ErrnoToStatus(error.value(), "the job's folder");
  return absl::OkStatus();
}

bool Covers(const v1::LedgerEntry& entry, const StartedStep& step) {
  return entry.attempt() == step.attempt && entry.first_step() <= step.step &&
         step.step < entry.end_step();
}

}  // namespace

absl::StatusOr<std::vector<StartedStep>> ReadTrace(const std::string& state_dir,
                                                   const std::string& job) {
  std::vector<StartedStep> trace;
  RETURN_IF_ERROR(ForEachLog(
      state_dir, job, [&trace](const std::string& text, int rank) { ReadLog(text, rank, trace); }));
  return trace;
}

absl::StatusOr<std::vector<std::map<std::string, int64_t>>> ReadMemorySummaries(
    const std::string& state_dir, const std::string& job) {
  static const std::regex kLine("\"message\":\"memory:([^\"]*)\"");
  static const std::regex kPair("([a-z_]+)=(-?[0-9]+)");
  std::vector<std::map<std::string, int64_t>> summaries;
  RETURN_IF_ERROR(ForEachLog(state_dir, job, [&summaries](const std::string& text, int) {
    std::map<std::string, int64_t> last;
    for (std::sregex_iterator line(text.begin(), text.end(), kLine), end; line != end; ++line) {
      last.clear();
      const std::string pairs = (*line)[1].str();
      for (std::sregex_iterator pair(pairs.begin(), pairs.end(), kPair); pair != end; ++pair) {
        last[(*pair)[1].str()] = std::stoll((*pair)[2].str());
      }
    }
    if (!last.empty()) summaries.push_back(std::move(last));
  }));
  return summaries;
}

absl::StatusOr<std::vector<std::vector<int64_t>>> ReadClearings(const std::string& state_dir,
                                                                const std::string& job) {
  static const std::regex kLine(
      "\"message\":\"caches cleared after ([0-9]+) steps: released_bytes=[0-9]+ "
      "resident_bytes=[1-9][0-9]*\"");
  std::vector<std::vector<int64_t>> clearings;
  RETURN_IF_ERROR(ForEachLog(state_dir, job, [&clearings](const std::string& text, int) {
    std::vector<int64_t> steps;
    for (std::sregex_iterator line(text.begin(), text.end(), kLine), end; line != end; ++line) {
      steps.push_back(std::stoll((*line)[1].str()));
    }
    if (!steps.empty()) clearings.push_back(std::move(steps));
  }));
  return clearings;
}

std::vector<std::string> UncoveredSteps(const std::vector<StartedStep>& trace,
                                        const std::vector<v1::LedgerEntry>& entries,
                                        const std::string& job) {
  std::vector<std::string> wrong;
  std::set<std::pair<int64_t, int64_t>> started;  // (attempt, step), over ranks
  for (const StartedStep& step : trace) {
    started.insert({step.attempt, step.step});
    bool covered = false;
    for (const v1::LedgerEntry& entry : entries) {
      covered = covered || (entry.kind() == v1::LedgerEntry::COMMITTED && entry.job() == job &&
                            Covers(entry, step) && TimeOf(entry) <= step.time);
    }
    if (!covered) {
      wrong.push_back(absl::StrCat("rank ", step.rank, " started step ", step.step, " of attempt ",
                                   step.attempt, " without a grant"));
    }
  }
  int64_t committed = 0;
  for (const v1::LedgerEntry& entry : entries) {
    if (entry.job() != job) continue;
    if (entry.kind() == v1::LedgerEntry::COMMITTED) committed += entry.steps();
    if (entry.kind() != v1::LedgerEntry::RETURNED) continue;
    committed -= entry.steps();
    for (const StartedStep& step : trace) {
      if (Covers(entry, step)) {
        wrong.push_back(absl::StrCat("row ", entry.row(), " returns step ", step.step));
      }
    }
  }
  if (committed < static_cast<int64_t>(started.size())) {
    wrong.push_back(
        absl::StrCat(committed, " steps are committed, but ", started.size(), " started"));
  }
  return wrong;
}

}  // namespace sotto::integration
