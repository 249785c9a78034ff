#include "worker/control_observer.h"

#include "common/base/log.h"
#include "worker/memory/resident_memory.h"
#include "worker/memory/tensor_memory.h"

namespace sotto {

void ControlObserver::OnProgress(int64_t started_steps, double seconds_per_step) {
  client_.SetProgress({.started_steps = started_steps,
                       .seconds_per_step = seconds_per_step,
                       .peak_bytes = memory::PeakResidentBytes(),
                       .tensor_peak_bytes = memory::TensorPeakBytes()});
}

void ControlObserver::OnStep(const dp::NoisedMetrics& metrics, double learning_rate,
                             double seconds_per_step) {
  if (!reports_) return;
  client_.Report(metrics, {.learning_rate = learning_rate,
                           .smoothed_mean_loss = smoothed_loss_.Add(metrics.noised_mean_loss()),
                           .steps_per_second = seconds_per_step > 0 ? 1 / seconds_per_step : 0,
                           .tensor_peak_bytes = memory::TensorPeakBytes(),
                           .resident_peak_bytes = memory::PeakResidentBytes()});
}

void ControlObserver::OnEvaluation(int64_t step, double evaluation_loss) {
  if (reports_) client_.ReportEvaluation(step, evaluation_loss);
}

void ControlObserver::OnCheckpoint(int64_t step, const std::string& directory) {
  if (reports_) client_.ReportCheckpoint(step, directory);
}

void ControlObserver::OnCachesCleared(int64_t completed_steps, int64_t released_bytes) {
  SOTTO_LOG(INFO) << "caches cleared after " << completed_steps
                  << " steps: released_bytes=" << released_bytes
                  << " resident_bytes=" << memory::ResidentBytes();
}

void ControlObserver::OnNote(const std::string& text) {
  if (reports_) client_.ReportNote(text);
}

}  // namespace sotto
