#include <algorithm>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/check/deferred_report.h"
#include "tools/check/mode_profile.h"
#include "tools/check/preset.h"
#include "tools/check/profile_report.h"

namespace sotto::check {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::SizeIs;

ProfileOptions SmallOptions(const std::vector<std::string>& modes) {
  ProfileOptions options;
  options.settings = {
      .length = 12, .batch = 4, .micro_batch = 2, .steps = 1, .learning_rate = 1e-3, .threads = 1};
  options.settings.uses_adamw = true;
  v1::Gpt2Spec& gpt2 = *options.settings.model.mutable_gpt2();
  gpt2.set_vocabulary_size(31);
  gpt2.set_width(16);
  gpt2.set_layers(2);
  gpt2.set_heads(2);
  gpt2.set_max_length(12);
  for (const std::string& mode : modes) options.modes.push_back(*ParseMode(mode));
  options.rounds = 1;
  return options;
}

// The modes' profiles, made once: each is a process.
class ProfileTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    options_ =
        new ProfileOptions(SmallOptions({"no_dp", "per_example", "flash", "flash+deferred"}));
    profiles_ = new absl::StatusOr<std::vector<ModeProfile>>(
        ProfileModes(*options_, [](const std::string&) {}));
  }
  static void TearDownTestSuite() {
    delete profiles_;
    delete options_;
  }

  static const ProfileOptions& options() { return *options_; }
  static const std::vector<ModeProfile>& profiles() { return **profiles_; }
  void SetUp() override {
    ASSERT_OK(*profiles_);
    ASSERT_THAT(profiles(), SizeIs(4));
    for (const ModeProfile& profile : profiles()) ASSERT_OK(profile.status);
  }

 private:
  static inline ProfileOptions* options_ = nullptr;
  static inline absl::StatusOr<std::vector<ModeProfile>>* profiles_ = nullptr;
};

// Phases are disjoint in time, and a step allocates nothing outside them that the mark would not
// also show.
TEST_F(ProfileTest, ThePeakIsThatOfSomePhase) {
  for (const ModeProfile& profile : profiles()) {
    int64_t highest = 0;
    for (const RecordedPhase& phase : profile.phases) {
      highest = std::max(highest, phase.tensor_peak_bytes);
      EXPECT_EQ(phase.tensor_peak_bytes > 0, phase.count > 0) << phase.name;
    }
    EXPECT_EQ(highest, profile.tensor_peak_bytes) << profile.mode.Label();
  }
}

TEST_F(ProfileTest, HeldGradientsShowInThePhasesThatHoldThem) {
  const ModeProfile& no_dp = profiles()[0];
  const ModeProfile& per_example = profiles()[1];
  EXPECT_GT(per_example.TensorPeakBytes("fold"), 0);
  EXPECT_EQ(no_dp.TensorPeakBytes("fold"), 0);
  EXPECT_GT(per_example.TensorPeakBytes("first_backward"), no_dp.TensorPeakBytes("first_backward"));
}

TEST_F(ProfileTest, ReportsHaveTimeAndBytesOfEveryPhase) {
  EXPECT_THAT(ProfileText(options(), profiles()),
              AllOf(HasSubstr("milliseconds"), HasSubstr("MiB of tensors"),
                    HasSubstr("MiB of a rank"), HasSubstr("per_example")));
  const nlohmann::json json = ProfileJson(options(), profiles());
  for (const nlohmann::json& mode : json["modes"]) {
    for (const nlohmann::json& phase : mode["phases"]) {
      EXPECT_TRUE(phase["seconds"].is_number() && phase["count"].is_number() &&
                  phase["tensor_peak_bytes"].is_number());
    }
  }
  EXPECT_GT(json["modes"][1]["phases"]["fold"]["tensor_peak_bytes"], 0);
}

// Layers, total and mean time, each phase of both, the ratios: what the origin's profile reports.
TEST_F(ProfileTest, DeferredNormsAreReportedAgainstImmediateOnes) {
  const std::vector<Deferral> deferrals = FindDeferrals(profiles());
  ASSERT_THAT(deferrals, SizeIs(1));
  const Deferral& deferral = deferrals[0];
  EXPECT_EQ(deferral.deferred->Count("norms"), deferral.immediate->Count("norms"));
  EXPECT_NEAR(deferral.NormMillisecondsPerLayer() * deferral.deferred->Count("norms"),
              1e3 * deferral.deferred->Seconds("norms"), 1e-9);
  EXPECT_GT(deferral.MemoryRatio(), 1);  // The output gradients wait for their norms.
  const std::string text = DeferralText(deferral);
  for (const char* part : {"norms of", "layers a step", "average per layer", "first backward",
                           "clip coefficients", "second backward", "weight gradients", "reduce",
                           "noise and optimizer", "immediate over deferred", "memory +"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(ProfileModesTest, ModelsWithoutSizesAreRefusedByField) {
  ProfileOptions options = SmallOptions({"no_dp"});
  options.settings.model.mutable_gpt2()->Clear();
  EXPECT_THAT(ProfileModes(options, [](const std::string&) {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("model.gpt2.vocabulary_size must be"), HasSubstr("but is 0"),
                             HasSubstr("model.gpt2.max_length must be"))));
}

TEST(ProfileModesTest, RecordsLongerThanTheModelAreRefused) {
  ProfileOptions options = SmallOptions({"no_dp"});
  options.settings.length = 13;
  EXPECT_THAT(ProfileModes(options, [](const std::string&) {}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("--length must be at most the model's max_length 12, but is 13")));
}

}  // namespace
}  // namespace sotto::check
