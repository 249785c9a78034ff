#include "client/live_view.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/promise.h"
#include "common/spec/hugging_face_config_writer.h"

namespace sotto::client {
namespace {

constexpr int kSparklineColumns = 16;
constexpr const char* kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};

absl::Time TimeOf(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::string Words(const std::string& enum_name) {
  return absl::StrReplaceAll(absl::AsciiStrToLower(enum_name), {{"_", " "}});
}

std::string DurationText(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "?";
  const int64_t total = std::llround(seconds);
  if (total < 60) return absl::StrFormat("%ds", total);
  if (total < 3600) return absl::StrFormat("%dm%02ds", total / 60, total % 60);
  return absl::StrFormat("%dh%02dm", total / 3600, total / 60 % 60);
}

// Cuts `text` to `columns` characters; a UTF-8 sequence counts as one.
std::string Cut(const std::string& text, int columns) {
  int seen = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool starts_character = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (starts_character && seen++ == columns) return text.substr(0, i);
  }
  return text;
}

int ColumnsOf(const std::string& text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

std::string GradientNormText(const v1::StepReport& report) {
  if (report.corrected_gradient_norm() > 0) {
    return absl::StrFormat("grad %.3g", report.corrected_gradient_norm());
  }
  return absl::StrFormat("grad <%.2g", report.gradient_norm_resolution());
}

std::string LossText(const v1::StepReport& report) {
  if (report.has_raw()) return absl::StrFormat("raw loss %.3f", report.raw().mean_loss());
  return absl::StrFormat("loss %.3f±%.2g (%.3f smoothed)", report.noised_mean_loss(),
                         report.mean_loss_standard_error(), report.smoothed_mean_loss());
}

// Of classifiers, where it leaves; else nothing.
std::string AccuracyText(const v1::StepReport& report) {
  if (report.has_raw()) {
    return report.raw().has_accuracy() ? absl::StrFormat("raw acc %.3f", report.raw().accuracy())
                                       : "";
  }
  if (!report.has_noised_accuracy()) return "";
  return absl::StrFormat("acc %.3f±%.2g", report.noised_accuracy(),
                         report.accuracy_standard_error());
}

// Of the reserve's bound where there is one: a lost attempt may take a job above its plan. A person
// who stops a job may do so because of what it showed: the bounds are the planned schedule's then.
std::string SpentText(const v1::Job& job) {
  const EpsilonBounds bounds = BoundsOf(job.plan());
  if (!bounds.has_reserve()) {
    return absl::StrFormat("  epsilon spent   %.4f of at most %.4f planned\n", job.epsilon(),
                           bounds.planned);
  }
  return absl::StrFormat(
      "  epsilon spent   %.4f of at most %.4f reserved (%.4f planned if no attempt is lost)\n",
      job.epsilon(), bounds.reserved, bounds.planned);
}

// Nothing of a dataset was read: nothing to promise.
std::string InferenceSummary(const v1::Job& job) {
  std::string summary =
      absl::StrFormat("%s %s (%s)\n", job.id(), Words(v1::JobState_Name(job.state())),
                      Words(v1::StateReason_Name(job.reason())));
  if (!job.message().empty()) absl::StrAppend(&summary, "  ", job.message(), "\n");
  return summary;
}

}  // namespace

void LiveView::OnJob(const v1::Job& job) {
  id_ = job.id();
  if (!job.history().empty()) last_change_ = TimeOf(job.history().rbegin()->time());
  total_steps_ = job.plan().train().steps();
  is_budgeted_ = job.plan().dataset().budgeted() && !job.plan().privacy().not_private();
}

std::string LiveView::PauseHint(const v1::JobEvent& event) const {
  const v1::StateChange& change = event.state();
  if (change.state() != v1::PAUSED || TimeOf(change.time()) < last_change_) return "";
  return absl::StrCat("paused; `sotto resume ", id_, "` goes on");
}

std::string LiveView::OnEvent(const v1::JobEvent& event) {
  switch (event.kind_case()) {
    case v1::JobEvent::kState: {
      const std::string line = absl::StrCat(
          Words(v1::JobState_Name(event.state().state())), ": ",
          Words(v1::StateReason_Name(event.state().reason())),
          event.state().message().empty() ? "" : absl::StrCat(": ", event.state().message()));
      const std::string hint = PauseHint(event);
      return Line(hint.empty() ? line : absl::StrCat(line, "\n", hint));
    }
    case v1::JobEvent::kStep:
      return OnStep(event.step(), TimeOf(event.time()));
    case v1::JobEvent::kEvaluation:
      last_evaluation_ = event.evaluation().evaluation_loss();
      if (!first_evaluation_.has_value()) first_evaluation_ = last_evaluation_;
      return Line(absl::StrFormat("held-out loss %.4f after %d steps", *last_evaluation_,
                                  event.evaluation().step()));
    case v1::JobEvent::kNote:
      return Line(absl::StrCat("note: ", event.note()));
    case v1::JobEvent::kCheckpoint:  // The summary names the last one.
    case v1::JobEvent::kGrant:
    case v1::JobEvent::KIND_NOT_SET:
      return "";
  }
  return "";
}

std::string LiveView::OnStep(const v1::StepReport& report, absl::Time time) {
  losses_.push_back(report.has_raw() ? report.raw().mean_loss() : report.smoothed_mean_loss());
  if (losses_.size() > 1024) losses_.pop_front();
  if (options_.is_terminal) {
    in_place_ = TerminalLine(report);
    return absl::StrCat("\r", in_place_, "\x1b[K");
  }
  const bool is_last = report.step() + 1 == total_steps_;
  if (!is_last && time - last_printed_ < absl::Seconds(1)) return "";
  last_printed_ = time;
  return StepLine(report) + "\n";
}

std::string LiveView::StepLine(const v1::StepReport& report) const {
  const int64_t done = report.step() + 1;
  std::string line = absl::StrFormat("step %d/%d", done, total_steps_);
  absl::StrAppend(&line, "  ", LossText(report));
  if (const std::string accuracy = AccuracyText(report); !accuracy.empty()) {
    absl::StrAppend(&line, "  ", accuracy);
  }
  absl::StrAppend(&line, "  ", GradientNormText(report));
  if (report.epsilon() > 0) absl::StrAppendFormat(&line, "  eps %.3f", report.epsilon());
  if (is_budgeted_)
    absl::StrAppendFormat(&line, "  budget left %.3f", report.budget_left_epsilon());
  if (report.steps_per_second() > 0) {
    absl::StrAppendFormat(&line, "  %.3g steps/s  %s left", report.steps_per_second(),
                          DurationText((total_steps_ - done) / report.steps_per_second()));
  }
  return line;
}

std::string LiveView::ShortStepLine(const v1::StepReport& report) const {
  const int64_t done = report.step() + 1;
  std::string line = absl::StrFormat("step %d/%d ", done, total_steps_);
  if (report.has_raw()) {
    absl::StrAppendFormat(&line, "raw %.3g", report.raw().mean_loss());
  } else {
    absl::StrAppendFormat(&line, "loss %.3g±%.2g (%.3g)", report.noised_mean_loss(),
                          report.mean_loss_standard_error(), report.smoothed_mean_loss());
  }
  if (const std::string accuracy = AccuracyText(report); !accuracy.empty()) {
    absl::StrAppend(&line, " ", accuracy);
  }
  absl::StrAppend(&line, " ", GradientNormText(report));
  if (report.epsilon() > 0) absl::StrAppendFormat(&line, " eps %.3f", report.epsilon());
  if (is_budgeted_) absl::StrAppendFormat(&line, " left %.3g", report.budget_left_epsilon());
  if (report.steps_per_second() > 0) {
    absl::StrAppendFormat(&line, " %.3g/s %s", report.steps_per_second(),
                          DurationText((total_steps_ - done) / report.steps_per_second()));
  }
  return line;
}

std::string LiveView::TerminalLine(const v1::StepReport& report) const {
  const int width = options_.width - 1;
  std::string line = StepLine(report);
  if (ColumnsOf(line) + 1 + kSparklineColumns > width) line = ShortStepLine(report);
  const int left = width - ColumnsOf(line) - 1;
  if (left > 0) absl::StrAppend(&line, " ", Sparkline(std::min(left, kSparklineColumns)));
  return Cut(line, width);
}

std::string LiveView::Sparkline(int most_columns) const {
  const int columns = std::min<int>(most_columns, losses_.size());
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (double loss : losses_) {
    if (!std::isfinite(loss)) continue;
    low = std::min(low, loss);
    high = std::max(high, loss);
  }
  std::string bars;
  for (int column = 0; column < columns; ++column) {
    const double loss = losses_[column * (losses_.size() - 1) / std::max(1, columns - 1)];
    const double height = high > low ? (loss - low) / (high - low) : 0 * loss + 0.5;
    bars += std::isfinite(height) ? kBars[std::clamp(static_cast<int>(height * 7.99), 0, 7)] : "?";
  }
  return bars;
}

std::string LiveView::Line(const std::string& text) {
  if (in_place_.empty()) return text + "\n";
  return absl::StrCat("\r\x1b[K", text, "\n", in_place_);
}

std::string LiveView::Leave() {
  if (in_place_.empty()) return "";
  in_place_.clear();
  return "\n";
}

std::string LiveView::Summary(const v1::Job& job) const {
  if (job.plan().has_inference()) return InferenceSummary(job);
  std::string summary = absl::StrFormat(
      "%s %s (%s) after %d steps\n", job.id(), Words(v1::JobState_Name(job.state())),
      Words(v1::StateReason_Name(job.reason())), job.completed_steps());
  if (!job.message().empty()) absl::StrAppend(&summary, "  ", job.message(), "\n");
  if (first_evaluation_.has_value()) {
    absl::StrAppendFormat(&summary, "  held-out loss   %.4f before, %.4f after\n",
                          *first_evaluation_, *last_evaluation_);
  }
  if (!job.plan().privacy().not_private()) absl::StrAppend(&summary, SpentText(job));
  if (!job.checkpoint_path().empty()) {
    absl::StrAppendFormat(&summary, "  checkpoint      %s (after %d steps)\n",
                          job.checkpoint_path(), job.checkpoint_step());
  }
  absl::StrAppend(&summary, "\n", PromiseAfter(job.plan(), job.epsilon(), job.restarts() > 0),
                  "\n");
  const bool exports = spec::FormatHuggingFaceConfig(job.plan().spec().model(), "F32").ok();
  if (!job.checkpoint_path().empty() && exports) {
    absl::StrAppendFormat(&summary,
                          "\nNext: sotto export %s --out model   writes a Hugging Face directory\n",
                          job.id());
  }
  return summary;
}

}  // namespace sotto::client
