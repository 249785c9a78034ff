#include "worker/train/operation_checker.h"

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ops/full.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "common/layout/gpt2_description.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "worker/comm/connect.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/solo_communicator.h"
#include "worker/comm/testing/rank_processes.h"
#include "worker/train/failure_reason.h"

namespace sotto::train {
namespace {

using layout::Operation;
using layout::ScheduledOperation;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kBlocks = 3;
constexpr int64_t kRegionElements = 32 * 64;

layout::ModelDescription Model() {
  return *layout::MakeGpt2Description(
      {.vocabulary_size = 11, .width = 4, .layers = kBlocks, .heads = 2, .max_length = 8});
}

// One rank's parameters and a checker of what is done with them.
class Rank {
 public:
  explicit Rank(comm::Communicator& communicator, OperationChecker::Options options = {},
                layout::Strategy strategy = layout::Strategy::kFullShard)
      : layout_(*layout::FlatLayout::Create(model_, communicator.world_size())),
        parameters_(*fsdp::ShardedParameters::Create(model_, layout_, communicator,
                                                     {.strategy = strategy})),
        checker_(*parameters_, options) {
    parameters_->Initialize(7);
  }

  // As the executor does it; `flowing` stands for the stage's output.
  absl::Status Run(const ScheduledOperation& operation, const at::Tensor& flowing = {}) {
    RETURN_IF_ERROR(checker_.Before(operation));
    if (operation.operations == Operation::kGather) {
      RETURN_IF_ERROR(parameters_->Gather(operation.unit, operation.slot));
    }
    if (operation.clears_gradient) {
      parameters_->ClearGradient(operation.block, operation.gradient_slot);
    }
    if (operation.operations == Operation::kReduce) {
      RETURN_IF_ERROR(parameters_->Reduce(operation.unit, operation.gradient_slot));
    }
    checker_.After(operation, flowing);
    return absl::OkStatus();
  }

  absl::Status RunAll(const std::vector<ScheduledOperation>& operations) {
    for (const ScheduledOperation& operation : operations) RETURN_IF_ERROR(Run(operation));
    return checker_.Finish();
  }

  fsdp::ShardedParameters& parameters() { return *parameters_; }
  OperationChecker& checker() { return checker_; }

 private:
  const layout::ModelDescription model_ = Model();
  const layout::FlatLayout layout_;
  const std::unique_ptr<fsdp::ShardedParameters> parameters_;
  OperationChecker checker_;
};

ScheduledOperation Gather(int unit, int slot) {
  return {.operations = Operation::kGather, .micro_batch = 0, .unit = unit, .slot = slot};
}
ScheduledOperation Reshard(int unit, int slot) {
  return {.operations = Operation::kReshard, .micro_batch = 0, .unit = unit, .slot = slot};
}
ScheduledOperation Forward(int block, int slot) {
  return {.operations = Operation::kForward,
          .micro_batch = 0,
          .stage = block,
          .block = block,
          .slot = slot};
}
ScheduledOperation Fold(int block, int slot, bool clears = true) {
  return {.operations = Operation::kFold,
          .micro_batch = 0,
          .block = block,
          .gradient_slot = slot,
          .clears_gradient = clears};
}
ScheduledOperation Reduce(int unit, int slot) {
  return {.operations = Operation::kReduce, .micro_batch = 0, .unit = unit, .gradient_slot = slot};
}

auto Offends(const std::string& what) {
  return StatusIs(absl::StatusCode::kInternal,
                  AllOf(HasSubstr("check_operations: rank 0: "), HasSubstr(what)));
}

TEST(OperationCheckerTest, WhatASchedulePlansIsNoOffence) {
  comm::SoloCommunicator alone;
  Rank rank(alone);
  for (int step = 0; step < 2; ++step) {
    EXPECT_OK(rank.RunAll({Gather(1, 1), Forward(1, 1), Gather(2, 2), Forward(2, 2), Reshard(1, 1),
                           Gather(3, 1), Fold(3, 1), Reduce(3, 1), Fold(2, 2), Fold(2, 2, false),
                           Reduce(2, 2)}));
  }
}

TEST(OperationCheckerTest, NamesAUnitThatIsNotWhereItIsRead) {
  comm::SoloCommunicator alone;
  const std::vector<std::pair<std::vector<ScheduledOperation>, std::string>> wrong = {
      {{Forward(1, 1)}, "before operation 1: 0 FORWARD stage 1 block 1 slot 1: unit h.0 is not"},
      {{Gather(1, 1), Reshard(1, 1), Forward(1, 1)}, "operation 3: 0 FORWARD"},
      {{Gather(1, 1), Gather(1, 2)}, "unit h.0 is gathered already, in slot 1"},
      {{Gather(1, 1), Gather(2, 1)}, "unit h.1 goes into slot 1, which still holds unit h.0"},
      {{Gather(1, 1), Reshard(1, 2)}, "unit h.0 is not gathered in slot 2"},
      {{Reduce(1, 1)}, "unit h.0 has no gradient in slot 1"},
      {{Fold(1, 1, false)}, "unit h.0 has no gradient in slot 1"},
      {{Fold(1, 1), Fold(2, 1)}, "unit h.0 has a gradient in slot 1, which another block writes"}};
  for (const auto& [operations, what] : wrong) {
    EXPECT_THAT(Rank(alone).RunAll(operations), Offends(what));
  }
}

TEST(OperationCheckerTest, NamesWhatIsNotFinite) {
  comm::SoloCommunicator alone;
  Rank rank(alone);
  rank.parameters().MasterShard(2)[0] = NAN;
  const absl::Status status = rank.RunAll({Gather(1, 1), Gather(2, 2), Forward(2, 2)});
  EXPECT_THAT(status, Offends("after operation 2: 0 GATHER unit 2 slot 2: unit h.1 has an infinite "
                              "or NaN parameter"));
  EXPECT_EQ(FailureReasonOf(status), FailureReason::kPlanCannotRun);

  Rank summing(alone);
  summing.parameters().GradientShard(1)[0] = std::numeric_limits<float>::infinity();
  EXPECT_THAT(summing.RunAll({Fold(1, 1), Reduce(1, 1)}),
              Offends("after operation 2: 0 REDUCE unit 1 gradient 1: unit h.0 has an infinite or "
                      "NaN reduced gradient"));
}

TEST(OperationCheckerTest, NamesPaddingThatIsNotZero) {
  comm::SoloCommunicator alone;
  Rank gathering(alone);
  gathering.parameters().MasterShard(1)[4] = 1;  // ln_1.weight has four elements.
  EXPECT_THAT(gathering.RunAll({Gather(1, 1)}), Offends("unit h.0 has parameter padding"));
  Rank folding(alone);
  ASSERT_OK(folding.Run(Fold(1, 1)));
  folding.parameters().WholeGradient(1, 1)[4] = 1;
  EXPECT_THAT(folding.RunAll({Fold(1, 1, false)}), Offends("unit h.0 has gradient padding"));
  Rank reducing(alone);
  reducing.parameters().GradientShard(1)[4] = 1;
  EXPECT_THAT(reducing.RunAll({Fold(1, 1), Reduce(1, 1)}), Offends("reduced gradient padding"));
}

TEST(OperationCheckerTest, NamesParametersThatComputeHasChanged) {
  comm::SoloCommunicator alone;
  Rank rank(alone);
  ASSERT_OK(rank.Run(Gather(1, 1)));
  rank.parameters().WholeUnit(1, 1)[0] = 3;
  EXPECT_THAT(rank.Run(Forward(1, 1)), Offends("unit h.0 was changed in slot 1"));
}

// Nothing is gathered: parameters are looked at where they are first read.
TEST(OperationCheckerTest, LooksAtParametersThatAreNeverGathered) {
  comm::SoloCommunicator alone;
  const auto whole = [&alone] {
    return std::make_unique<Rank>(alone, OperationChecker::Options{}, layout::Strategy::kNoShard);
  };
  const std::vector<ScheduledOperation> step = {Forward(1, 1), Forward(2, 2), Forward(2, 2),
                                                Forward(1, 1)};
  const std::unique_ptr<Rank> sound = whole();
  ASSERT_OK(sound->RunAll(step));
  sound->parameters().MasterShard(1)[0] = 3;  // As an optimizer does, between steps.
  EXPECT_OK(sound->RunAll(step));

  const std::unique_ptr<Rank> infinite = whole();
  infinite->parameters().MasterShard(2)[0] = NAN;
  EXPECT_THAT(infinite->RunAll(step),
              Offends("before operation 2: 0 FORWARD stage 2 block 2 slot 2: unit h.1 has an "
                      "infinite or NaN parameter"));

  const std::unique_ptr<Rank> padded = whole();
  padded->parameters().MasterShard(1)[4] = 1;  // ln_1.weight has four elements.
  EXPECT_THAT(padded->RunAll(step), Offends("unit h.0 has parameter padding that is not zero"));

  const std::unique_ptr<Rank> changed = whole();
  ASSERT_OK(changed->Run(Forward(1, 1)));
  changed->parameters().MasterShard(1)[0] = 3;
  EXPECT_THAT(changed->Run(Forward(1, 1)), Offends("unit h.0 was changed since it was first read"));
}

// What is of single records is looked at only where nothing is promised about them.
TEST(OperationCheckerTest, LooksAtActivationsOnlyWhenToldTo) {
  comm::SoloCommunicator alone;
  const at::Tensor infinite = at::full({2, 3}, INFINITY);
  for (bool checks : {false, true}) {
    Rank rank(alone, {.checks_activations = checks});
    ASSERT_OK(rank.Run(Gather(1, 1)));
    ASSERT_OK(rank.Run(Forward(1, 1), infinite));
    const absl::Status status = rank.checker().Finish();
    if (checks) {
      EXPECT_THAT(status, Offends("unit h.0 made infinite or NaN activations"));
    } else {
      EXPECT_OK(status);
    }
  }
}

// The argument: what rank 1 of 2 does wrong.
const comm::RankBodyRegistration kFaulty("faulty", [](const comm::RankContext& context) {
  const std::unique_ptr<comm::Communicator> communicator =
      *comm::Connect({.rank = context.rank,
                      .world_size = context.world_size,
                      .memfd = context.memfd,
                      .region_elements = kRegionElements});
  Rank rank(*communicator);
  const bool faulty = context.rank == 1;
  std::string expected;
  std::vector<ScheduledOperation> operations = {Gather(1, 1), Forward(1, 1), Gather(2, 2)};
  if (context.argument == "another_unit") {
    if (faulty) operations[2] = Gather(3, 2);
    expected =
        "rank 1: operation 3: 0 GATHER unit 3 slot 2, but rank 0 is at operation 3: 0 "
        "GATHER unit 2 slot 2";
  } else if (context.argument == "fewer") {
    if (faulty) operations.pop_back();
    expected = "rank 1: operation the end, but rank 0 is at operation 3: 0 GATHER unit 2 slot 2";
  } else if (context.argument == "gradient") {
    operations = {Fold(1, 1), Reduce(1, 1)};
    if (faulty) rank.parameters().GradientShard(1)[0] = NAN;
    expected = "rank 1: after operation 2: 0 REDUCE unit 1 gradient 1: unit h.0 has an infinite";
  }
  const absl::Status status = rank.RunAll(operations);
  if (absl::StrContains(status.message(), expected) && !expected.empty()) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("not \"", expected, "\", but: ", status.ToString()));
});

TEST(OperationCheckerTest, EveryRankNamesTheRankAndItsFirstOffence) {
  for (const std::string fault : {"another_unit", "fewer", "gradient"}) {
    comm::RankProcesses ranks(
        {.body = "faulty",
         .world_size = 2,
         .memfd_bytes = comm::LocalCommunicator::MemfdBytes(2, kRegionElements),
         .argument = fault});
    EXPECT_TRUE(ranks.AllSucceed()) << fault;
  }
}

}  // namespace
}  // namespace sotto::train

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
