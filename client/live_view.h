// What a person sees while a job runs: events in, text out.
#ifndef SOTTO_CLIENT_LIVE_VIEW_H_
#define SOTTO_CLIENT_LIVE_VIEW_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "proto/sotto/v1/job.pb.h"

namespace sotto::client {

// Renders the events of one job. On a terminal the newest step overwrites one line; elsewhere every
// line stays, and steps are thinned to about one a second of the events' own time. Pure: no clock,
// no I/O. Externally synchronised.
class LiveView {
 public:
  struct Options {
    bool is_terminal = false;
    int width = 100;  // columns; a line in place is cut there
  };

  explicit LiveView(const Options& options) : options_(options) {}

  // Takes the planned steps and the budget from the job; call it before the first event and
  // whenever the job changed.
  void OnJob(const v1::Job& job);

  // What to write now; may be empty.
  std::string OnEvent(const v1::JobEvent& event);

  // "paused; `sotto resume job-1` goes on" of the event that pauses the job; empty for others, and
  // for pauses that were over when OnJob was called.
  std::string PauseHint(const v1::JobEvent& event) const;

  // Ends a line in place, so that other text can follow.
  std::string Leave();

  // The closing lines: how it ended, held-out loss before and after, epsilon, checkpoint, the
  // promise, what to do next.
  std::string Summary(const v1::Job& job) const;

 private:
  std::string OnStep(const v1::StepReport& report, absl::Time time);
  std::string StepLine(const v1::StepReport& report) const;
  // The same, abbreviated, for a terminal of 80 columns.
  std::string ShortStepLine(const v1::StepReport& report) const;
  // The line in place: the longest form that fits, and a sparkline in what is left.
  std::string TerminalLine(const v1::StepReport& report) const;
  std::string Sparkline(int most_columns) const;
  // A line that stays, above the line in place.
  std::string Line(const std::string& text);

  const Options options_;
  std::string id_;
  absl::Time last_change_ = absl::InfinitePast();  // of the job's state, when OnJob was called
  int64_t total_steps_ = 0;
  bool is_budgeted_ = false;
  std::deque<double> losses_;  // smoothed, newest last
  std::optional<double> first_evaluation_;
  std::optional<double> last_evaluation_;
  std::string in_place_;  // the line that the next one overwrites
  absl::Time last_printed_ = absl::InfinitePast();
};

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_LIVE_VIEW_H_
