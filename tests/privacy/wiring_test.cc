// What must not compile: each line states that a wrong wiring has no meaning in the types, and,
// beside it, that the right one has (so that the line cannot hold by a misspelling). The compiler
// is the test.
#include <optional>
#include <type_traits>
#include <utility>

#include "gtest/gtest.h"
#include "worker/control/control_client.h"
#include "worker/dp/clip_threshold.h"
#include "worker/dp/clipped_sum.h"
#include "worker/dp/clipped_sum_passkey.h"
#include "worker/dp/l2_sensitivity.h"
#include "worker/dp/mechanism.h"
#include "worker/dp/noised_gradient.h"
#include "worker/dp/noised_metrics.h"
#include "worker/dp/sampler.h"
#include "worker/grant/grant.h"
#include "worker/optim/adamw.h"
#include "worker/optim/optimizer.h"
#include "worker/optim/sgd.h"

namespace sotto {
namespace {

template <typename Optimizer, typename Gradient>
concept Accepts = requires(Optimizer& optimizer, Gradient gradient) {
  optimizer.Step(std::move(gradient), 0.1, 0);
};
static_assert(Accepts<optim::Optimizer, dp::NoisedGradient>);
static_assert(!Accepts<optim::Optimizer, dp::ClippedSum>);
static_assert(Accepts<optim::AdamW, dp::NoisedGradient> && !Accepts<optim::AdamW, dp::ClippedSum>);
static_assert(Accepts<optim::Sgd, dp::NoisedGradient> && !Accepts<optim::Sgd, dp::ClippedSum>);
static_assert(!std::is_constructible_v<dp::NoisedGradient, dp::ClippedSum>);
static_assert(!std::is_constructible_v<dp::NoisedGradient, std::vector<dp::ShardSlice>, double>);

template <typename Sum, typename Grant>
concept Releases = requires(dp::Mechanism& mechanism, Sum sum, Grant grant) {
  mechanism.Release(std::move(sum), grant);
};
static_assert(Releases<dp::ClippedSum, grant::StepGrant>);
static_assert(!Releases<dp::ClippedSum, int64_t>);
static_assert(!Releases<dp::ClippedSum, grant::Grant>);
static_assert(!Releases<dp::NoisedGradient, grant::StepGrant>);
static_assert(!Releases<std::vector<dp::ShardSlice>, grant::StepGrant>);

// What may be reported comes from a release, by the mechanism.
template <typename Gradient>
concept IsReported = requires(const dp::Mechanism& mechanism, const Gradient& gradient) {
  mechanism.Report(gradient);
};
static_assert(IsReported<dp::NoisedGradient>);
static_assert(!IsReported<dp::ClippedSum> && !IsReported<dp::PrivateStatistics>);

// Noise is scaled by what a clipping rule enforced.
template <typename Sensitivity>
concept IsSensitivity =
    std::is_constructible_v<dp::ClippedSum, dp::ClippedSumPasskey, std::vector<dp::ShardSlice>,
                            dp::PrivateStatistics, Sensitivity>;
static_assert(IsSensitivity<dp::L2Sensitivity>);
static_assert(!IsSensitivity<double> && !std::is_constructible_v<dp::L2Sensitivity, double>);

// A clip norm that adapts sees what was released, and nothing else.
template <typename Seen>
concept AdaptsTo = requires(dp::ClipThreshold& threshold, const Seen& seen) {
  threshold.Observe(seen);
};
static_assert(AdaptsTo<dp::NoisedMetrics>);
static_assert(!AdaptsTo<dp::RawMetrics> && !AdaptsTo<dp::PrivateStatistics> && !AdaptsTo<double>);

template <typename Sampler, typename Grant>
concept Samples = requires(const Sampler& sampler, Grant grant) {
  sampler.Sample(grant);
};
static_assert(Samples<dp::Sampler, grant::StepGrant>);
static_assert(!Samples<dp::Sampler, int64_t>);
static_assert(!Samples<dp::Sampler, grant::Grant>);

template <typename Client, typename Metrics>
concept Reports = requires(Client& client, const Metrics& metrics) {
  client.Report(metrics, control::ReportContext());
};
static_assert(Reports<control::ControlClient, dp::NoisedMetrics>);
static_assert(!Reports<control::ControlClient, dp::RawMetrics>);
static_assert(!Reports<control::ControlClient, dp::PrivateStatistics>);
static_assert(!Reports<control::ControlClient, double>);

// A sum is released once, and a grant is used by its owner.
static_assert(!std::is_copy_constructible_v<dp::ClippedSum> &&
              std::is_move_constructible_v<dp::ClippedSum>);
static_assert(!std::is_copy_constructible_v<grant::StepGrant> &&
              std::is_move_constructible_v<grant::StepGrant>);
static_assert(!std::is_copy_constructible_v<dp::PrivateStatistics>);
// None of them comes from nothing.
static_assert(!std::is_default_constructible_v<dp::NoisedGradient>);
static_assert(!std::is_default_constructible_v<dp::NoisedMetrics>);
static_assert(!std::is_default_constructible_v<dp::ClippedSum>);
static_assert(!std::is_constructible_v<grant::StepGrant, int64_t, int64_t>);

template <typename Sum>
concept IsReadable = requires(Sum& sum) {
  sum.slices_;
}
|| requires(Sum& sum) { sum.slices(); }
|| requires(Sum& sum) { sum.statistics_; };
struct ReadableSum {
  int slices_;
};
static_assert(IsReadable<ReadableSum> && !IsReadable<dp::ClippedSum>);

// A release gives out what has its noise: neither the sum below it nor the noise's key.
template <typename Gradient>
concept ShowsSumOrKey = requires(Gradient& gradient) {
  gradient.slices_;
}
|| requires(Gradient& gradient) { gradient.key_; }
|| requires(Gradient& gradient) { gradient.metrics_; };
template <typename Gradient>
concept ShowsNoisedSums = requires(const Gradient& gradient) {
  gradient.sums();
};
static_assert(ShowsSumOrKey<ReadableSum> && !ShowsSumOrKey<dp::NoisedGradient>);
static_assert(ShowsNoisedSums<dp::NoisedGradient> && !ShowsNoisedSums<dp::ClippedSum>);
static_assert(!std::is_copy_constructible_v<dp::NoisedGradient> &&
              std::is_move_constructible_v<dp::NoisedGradient>);

TEST(WiringTest, WrongWiringsHaveNoMeaning) {
  EXPECT_TRUE((Accepts<optim::Optimizer, dp::NoisedGradient>));
  EXPECT_FALSE((Accepts<optim::Optimizer, dp::ClippedSum>));
}

}  // namespace
}  // namespace sotto
