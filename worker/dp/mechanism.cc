#include "worker/dp/mechanism.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/crypto/hkdf.h"
#include "kernels/chacha_normals.h"
#include "worker/dp/statistics_reader.h"

namespace sotto::dp {

namespace {

absl::Status CheckPositive(const char* name, double value) {
  if (std::isfinite(value) && value > 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " must be finite and positive, but is ", value));
}

// All but the norm.
RawMetrics MakeRawMetrics(const PrivateStatistics& statistics) {
  const double examples = StatisticsReader::Examples(statistics);
  RawMetrics raw;
  raw.sampled_batch_size = static_cast<int64_t>(examples);
  if (examples > 0) {
    raw.mean_loss = StatisticsReader::RawLossSum(statistics) / examples;
    raw.clip_fraction = StatisticsReader::ClippedExamples(statistics) / examples;
  }
  const double labelled = StatisticsReader::LabelledExamples(statistics);
  if (labelled > 0) raw.accuracy = StatisticsReader::FoundLabels(statistics) / labelled;
  return raw;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Mechanism>> Mechanism::Create(Options options) {
  ASSIGN_OR_RETURN(NoiseSchedule noise, NoiseSchedule::Create(options.noise));
  // A bound of 0 would be a noise of 0.
  RETURN_IF_ERROR(CheckPositive("max_loss", options.max_loss));
  RETURN_IF_ERROR(CheckPositive("expected_batch_size", options.expected_batch_size));
  RETURN_IF_ERROR(CheckPositive("sensitivity_factor", options.sensitivity_factor));
  if (!options.sum_over_ranks) return absl::InvalidArgumentError("sum_over_ranks must be set");
  if (!options.sum_over_shards) options.sum_over_shards = options.sum_over_ranks;
  return std::unique_ptr<Mechanism>(new Mechanism(std::move(options), std::move(noise)));
}

absl::StatusOr<NoisedGradient> Mechanism::Release(ClippedSum&& sum, const grant::StepGrant& grant) {
  ClippedSum private_sum = std::move(sum);
  RETURN_IF_ERROR(private_sum.statistics_.SumOverRanks(options_.sum_over_ranks));
  const crypto::Key key = crypto::DeriveKey(options_.secret, "gradient noise", grant.step());
  const double stddev = noise_.At(grant.step()).gradient_multiplier * options_.sensitivity_factor *
                        private_sum.sensitivity_.value();
  NoisedMetrics metrics =
      MakeMetrics(private_sum.statistics_, private_sum.sensitivity_.value(), stddev, grant);
  const double batch = options_.expected_batch_size;
  double raw_norm_sq = 0;
  if (options_.report_raw) {
    metrics.raw_ = MakeRawMetrics(private_sum.statistics_);
    // A pass over the same shards that adds nothing.
    raw_norm_sq =
        NoisedGradient(private_sum.slices_, key, /*noise_stddev=*/0, batch, metrics).NormSq();
  }
  NoisedGradient gradient(std::move(private_sum.slices_), key, stddev, batch, metrics);
  gradient.raw_norm_sq_ = raw_norm_sq;
  return gradient;
}

absl::StatusOr<NoisedMetrics> Mechanism::Report(const NoisedGradient& gradient) const {
  std::array<double, 2> norm_sq = {gradient.NormSq(), gradient.raw_norm_sq_};
  RETURN_IF_ERROR(options_.sum_over_shards(absl::MakeSpan(norm_sq)));
  const double batch = options_.expected_batch_size;
  const double noise_floor_sq =
      static_cast<double>(options_.parameters) * gradient.noise_stddev() * gradient.noise_stddev();
  NoisedMetrics metrics = gradient.metrics_;
  metrics.noised_gradient_norm_ = std::sqrt(norm_sq[0]) / batch;
  metrics.corrected_gradient_norm_ = std::sqrt(std::max(0.0, norm_sq[0] - noise_floor_sq)) / batch;
  if (metrics.raw_.has_value()) metrics.raw_->gradient_norm = std::sqrt(norm_sq[1]) / batch;
  return metrics;
}

NoisedMetrics Mechanism::MakeMetrics(const PrivateStatistics& statistics, double sensitivity,
                                     double gradient_noise_stddev,
                                     const grant::StepGrant& grant) const {
  std::array<double, 3> normals;
  kernels::FillNormals(kernels::ChaChaKey::FromBytes(
                           crypto::DeriveKey(options_.secret, "metrics noise", grant.step())),
                       /*first_position=*/0, absl::MakeSpan(normals));
  const double batch = options_.expected_batch_size;
  const NoiseSegment& noise = noise_.At(grant.step());
  const double loss_stddev = noise.loss_multiplier * options_.max_loss;
  const double count_stddev = noise.clip_fraction_multiplier;
  const double parameters = static_cast<double>(options_.parameters);

  NoisedMetrics metrics;
  metrics.step_ = grant.step();
  metrics.attempt_ = grant.attempt();
  metrics.clip_norm_ = sensitivity;
  // The noise's share of the squared norm has standard deviation sqrt(2 P) stddev^2.
  metrics.gradient_norm_resolution_ =
      std::pow(2 * parameters, 0.25) * gradient_noise_stddev / batch;
  metrics.noised_mean_loss_ =
      (StatisticsReader::ClippedLossSum(statistics) + loss_stddev * normals[0]) / batch;
  metrics.mean_loss_standard_error_ = loss_stddev / batch;
  metrics.noised_clip_fraction_ =
      (StatisticsReader::ClippedExamples(statistics) + count_stddev * normals[1]) / batch;
  metrics.clip_fraction_standard_error_ = count_stddev / batch;
  if (noise.accuracy_multiplier > 0) {
    metrics.noised_accuracy_ =
        (StatisticsReader::FoundLabels(statistics) + noise.accuracy_multiplier * normals[2]) /
        batch;
    metrics.accuracy_standard_error_ = noise.accuracy_multiplier / batch;
  }
  return metrics;
}

}  // namespace sotto::dp
