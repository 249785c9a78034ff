// Jobs that do not fit into memory: what is proposed fits.
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_matchers.h"
#include "common/spec/spec_parser.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/planning/inference_planner.h"
#include "server/planning/planner.h"
#include "server/planning/testing/demo_job.h"

namespace sotto::planning {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kPlenty = int64_t{1} << 50;

absl::StatusOr<v1::JobPlan> PlanWithin(v1::JobSpec spec, int64_t limit,
                                       int32_t longest_record = 128) {
  spec.mutable_gradient()->set_memory_limit_bytes(limit);
  v1::DatasetFacts dataset = MakeDemoDataset();
  dataset.set_max_length(longest_record);
  return Plan(spec, dataset, MakeDemoHost());
}

int64_t BytesOf(const v1::JobSpec& spec) {
  const absl::StatusOr<v1::JobPlan> plan = PlanWithin(spec, kPlenty);
  EXPECT_OK(plan);
  return plan.ok() ? plan->memory().total_bytes() : 0;
}

auto IsRefusedWith(const std::string& what) {
  return StatusIs(absl::StatusCode::kInvalidArgument,
                  HasSubstr(absl::StrCat("one of these would fit: ", what)));
}

// One rule's remedies, those before `what` left out.
auto IsRefusedAlsoWith(const std::string& what) {
  return StatusIs(absl::StatusCode::kInvalidArgument,
                  AllOf(HasSubstr("one of these would fit: "), HasSubstr(what)));
}

TEST(MemoryRemediesTest, FewerGatheredSlots) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_gradient()->set_mode("flash");
  spec.mutable_train()->set_micro_batch_size(1);
  spec.mutable_train()->mutable_activation_checkpointing()->set_every_blocks(1);
  spec.mutable_workers()->set_count(4);
  spec.mutable_workers()->set_gathered_slots(4);
  v1::JobSpec two = spec;
  two.mutable_workers()->set_gathered_slots(2);
  const int64_t limit = BytesOf(two);
  ASSERT_LT(limit, BytesOf(spec));
  EXPECT_THAT(PlanWithin(spec, limit), IsRefusedAlsoWith("workers.gathered_slots 2 needs"));
  EXPECT_OK(PlanWithin(two, limit));
}

// What is sharded outweighs slots and activations.
v1::JobSpec MakeWideSpec() {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_model()->mutable_gpt2()->set_width(384);
  spec.mutable_workers()->set_count(4);
  spec.mutable_workers()->set_strategy(v1::NO_SHARD);
  return spec;
}

TEST(MemoryRemediesTest, ShardsInPlaceOfReplicas) {
  v1::JobSpec spec = MakeWideSpec();
  v1::JobSpec shards = spec;
  shards.mutable_workers()->set_strategy(v1::FULL_SHARD);
  spec.mutable_train()->set_micro_batch_size(1);
  shards.mutable_train()->set_micro_batch_size(1);
  const int64_t limit = BytesOf(shards);
  ASSERT_LT(limit, BytesOf(spec));
  EXPECT_THAT(PlanWithin(spec, limit), IsRefusedAlsoWith("workers.strategy FULL_SHARD needs"));
  EXPECT_OK(PlanWithin(shards, limit));
}

TEST(MemoryRemediesTest, ChangesTogetherWhereNoneDoesAlone) {
  v1::JobSpec spec = MakeWideSpec();
  spec.mutable_gradient()->set_mode("flash");
  spec.mutable_train()->set_micro_batch_size(32);
  spec.mutable_train()->mutable_activation_checkpointing()->set_every_blocks(1);
  v1::JobSpec both = spec;
  both.mutable_train()->set_micro_batch_size(2);
  both.mutable_workers()->set_strategy(v1::FULL_SHARD);
  const int64_t limit = BytesOf(both);
  EXPECT_THAT(PlanWithin(spec, limit),
              IsRefusedWith("train.micro_batch_size 2 with workers.strategy FULL_SHARD needs"));
  EXPECT_OK(PlanWithin(both, limit));
}

TEST(MemoryRemediesTest, FewerWorkersWhereTheyShareAHost) {
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_workers()->set_count(4);
  HostFacts host = MakeDemoHost();
  v1::JobSpec one = spec;
  one.mutable_workers()->set_count(1);
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan plan, Plan(one, MakeDemoDataset(), host));
  host.memory_bytes = plan.memory().total_bytes();
  const absl::Status refused = Plan(spec, MakeDemoDataset(), host).status();
  EXPECT_THAT(refused, IsRefusedAlsoWith("workers.count 1 needs"));
  EXPECT_OK(Plan(one, MakeDemoDataset(), host));
}

// Matrices of all pairs of 32768 tokens: 8 T^2 bytes for each example that is measured.
TEST(MemoryRemediesTest, GramMatricesOfLongRecordsAreInThePlan) {
  constexpr int64_t kLong = 32768;
  v1::JobSpec spec = MakeDemoSpec();
  spec.mutable_model()->mutable_gpt2()->set_max_length(kLong);
  spec.mutable_train()->set_micro_batch_size(1);
  for (const char* mode : {"ghost", "ghost_bk"}) {
    spec.mutable_gradient()->set_mode(mode);
    ASSERT_OK_AND_ASSIGN(const v1::JobPlan plan, PlanWithin(spec, kPlenty, kLong));
    EXPECT_GE(plan.memory().workspace_bytes(), 8 * kLong * kLong) << mode;
    EXPECT_THAT(PlanWithin(spec, int64_t{4} << 30, kLong),
                IsRefusedAlsoWith("gradient.mode flash needs"))
        << mode;
  }
  for (const char* mode : {"flash", "auto"}) {
    spec.mutable_gradient()->set_mode(mode);
    ASSERT_OK_AND_ASSIGN(const v1::JobPlan plan, PlanWithin(spec, kPlenty, kLong));
    EXPECT_LT(plan.memory().workspace_bytes(), kLong * kLong) << mode;
    for (const v1::LayerPlan& layer : plan.sharding().layers()) {
      EXPECT_NE(layer.mode().norm(), v1::UnitMode::GRAM) << mode << " " << layer.name();
    }
  }
}

// ---- inference ----

v1::JobSpec ScoreSpec() {
  return *spec::ParseJobSpec(
      "model: {gpt2: {vocabulary_size: 257, width: 256, layers: 8, heads: 4, max_length: 128}, "
      "hugging_face_directory: /models/some}\n"
      "inference: {prompt_file: /p, output: /o, batch_size: 64, score: {}}\n",
      spec::Format::kYaml);
}

absl::StatusOr<v1::JobPlan> PlanScore(const v1::JobSpec& spec, int64_t host_bytes) {
  InferenceFacts facts;
  facts.prompts =
      PromptFacts{.prompts = 640, .sha256 = "abc", .longest = 100, .longest_continuation = 50};
  HostFacts host = MakeDemoHost();
  host.memory_bytes = host_bytes;
  return PlanInference(spec, facts, host);
}

int64_t ScoreBytes(const v1::JobSpec& spec) {
  const absl::StatusOr<v1::JobPlan> plan = PlanScore(spec, kPlenty);
  EXPECT_OK(plan);
  return plan.ok() ? plan->memory().total_bytes() : 0;
}

TEST(InferenceRemediesTest, TheLargestBatchThatFits) {
  const v1::JobSpec spec = ScoreSpec();
  v1::JobSpec sixteen = spec;
  sixteen.mutable_inference()->set_batch_size(16);
  const int64_t host = ScoreBytes(sixteen);
  ASSERT_LT(host, ScoreBytes(spec));
  const absl::Status refused = PlanScore(spec, host).status();
  EXPECT_THAT(refused, IsRefusedWith("inference.batch_size 16 needs"));
  EXPECT_THAT(refused.message(), HasSubstr("inference.batch_size needs"));
  EXPECT_OK(PlanScore(sixteen, host));
}

TEST(InferenceRemediesTest, ParametersThatDoNotFitAreNotTheBatchsFault) {
  v1::JobSpec spec = ScoreSpec();
  spec.mutable_inference()->set_batch_size(1);
  spec.mutable_workers()->set_count(4);
  spec.mutable_workers()->set_strategy(v1::NO_SHARD);
  v1::JobSpec shards = spec;
  shards.mutable_workers()->set_strategy(v1::FULL_SHARD);
  const int64_t host = 4 * ScoreBytes(shards);
  ASSERT_LT(host, 4 * ScoreBytes(spec));
  const absl::Status refused = PlanScore(spec, host).status();
  EXPECT_THAT(refused, IsRefusedWith("workers.strategy FULL_SHARD needs"));
  EXPECT_THAT(refused.message(),
              AllOf(HasSubstr("workers.count needs"), HasSubstr("of them for parameters"),
                    Not(HasSubstr("inference.batch_size"))));
  EXPECT_OK(PlanScore(shards, host));
}

TEST(InferenceRemediesTest, AHostThatIsTooSmallIsSaidToBe) {
  EXPECT_THAT(PlanScore(ScoreSpec(), int64_t{16} << 20),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("workers.count needs"),
                             HasSubstr("nothing that the job can change would do: even "
                                       "inference.batch_size 1 with workers.gathered_slots 1 "
                                       "needs"))));
}

}  // namespace
}  // namespace sotto::planning
