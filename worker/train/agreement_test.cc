#include "worker/train/agreement.h"

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "gtest/gtest.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/testing/rank_processes.h"

namespace sotto::train {
namespace {

constexpr int64_t kRegion = 32 * 3 * 4;

absl::Status Expect(bool condition, const std::string& what) {
  return condition ? absl::OkStatus() : absl::InternalError(what);
}

absl::StatusOr<std::unique_ptr<comm::LocalCommunicator>> Connect(const comm::RankContext& context) {
  return comm::LocalCommunicator::Create({.rank = context.rank,
                                          .world_size = context.world_size,
                                          .memfd = context.memfd,
                                          .region_elements = kRegion});
}

const comm::RankBodyRegistration kTexts(
    "texts", [](const comm::RankContext& context) -> absl::Status {
      ASSIGN_OR_RETURN(const std::unique_ptr<comm::LocalCommunicator> communicator,
                       Connect(context));
      RETURN_IF_ERROR(CheckRanksAgree(*communicator, "plan", "the same"));
      const std::string own = context.rank == 2 ? "other" : "the same";
      const absl::Status status = CheckRanksAgree(*communicator, "plan", own);
      return Expect(absl::IsFailedPrecondition(status) &&
                        absl::StrCat(status.message()) ==
                            "ranks must agree on the plan, but rank 2 differs from rank 0",
                    status.ToString());
    });

// Ranks 1 and 2 have errors of their own: all tell the one of rank 1, and go on together.
const comm::RankBodyRegistration kErrors(
    "errors", [](const comm::RankContext& context) -> absl::Status {
      ASSIGN_OR_RETURN(const std::unique_ptr<comm::LocalCommunicator> communicator,
                       Connect(context));
      RETURN_IF_ERROR(AgreeOnStatus(*communicator, absl::OkStatus()));
      absl::Status own;
      if (context.rank == 1) own = absl::UnavailableError("the disk of Öland is full");
      if (context.rank == 2) own = absl::InvalidArgumentError(std::string(5000, 'x'));
      const absl::Status status = AgreeOnStatus(*communicator, own);
      RETURN_IF_ERROR(Expect(status == absl::UnavailableError("rank 1: the disk of Öland is full"),
                             status.ToString()));
      const absl::Status cut =
          AgreeOnStatus(*communicator, context.rank == 2 ? own : absl::OkStatus());
      RETURN_IF_ERROR(Expect(
          cut == absl::InvalidArgumentError(absl::StrCat("rank 2: ", std::string(1000, 'x'))),
          cut.ToString()));
      return AgreeOnStatus(*communicator, absl::OkStatus());
    });

// Rank 0 leaves: who has an error tells that one.
const comm::RankBodyRegistration kBroken(
    "broken", [](const comm::RankContext& context) -> absl::Status {
      ASSIGN_OR_RETURN(const std::unique_ptr<comm::LocalCommunicator> communicator,
                       Connect(context));
      if (context.rank == 0) {
        communicator->Abort();
        return absl::OkStatus();
      }
      const absl::Status own = context.rank == 1 ? absl::DataLossError("gone") : absl::OkStatus();
      const absl::Status status = AgreeOnStatus(*communicator, own);
      return Expect(context.rank == 1 ? status == own : !status.ok(), status.ToString());
    });

// Rank 1 is told to save, rank 2 to abort, rank 0 nothing: all stop, before step 1, for the
// strongest cause.
const comm::RankBodyRegistration kStops(
    "stops", [](const comm::RankContext& context) -> absl::Status {
      ASSIGN_OR_RETURN(const std::unique_ptr<comm::LocalCommunicator> communicator,
                       Connect(context));
      grant::GrantGate gate({.attempt = 4, .end_step = 9, .clock = &RealClock::Get()});
      RETURN_IF_ERROR(gate.Extend({.first_step = 0, .end_step = 9, .attempt = 4}));
      std::optional<StopCause> cause;
      ASSIGN_OR_RETURN(const grant::StepGrant grant,
                       AuthorizeOnAllRanks(gate, *communicator, 0, &cause));
      RETURN_IF_ERROR(Expect(grant.step() == 0 && grant.attempt() == 4 && !cause.has_value(),
                             "a granted step"));
      if (context.rank == 1) gate.Stop(grant::StopMode::kCheckpoint);
      if (context.rank == 2) gate.Stop(grant::StopMode::kAbort);
      const absl::Status status = AuthorizeOnAllRanks(gate, *communicator, 1, &cause).status();
      return Expect(absl::IsCancelled(status) && cause == StopCause::kAbort, status.ToString());
    });

const comm::RankBodyRegistration kGrace(
    "grace", [](const comm::RankContext& context) -> absl::Status {
      ASSIGN_OR_RETURN(const std::unique_ptr<comm::LocalCommunicator> communicator,
                       Connect(context));
      grant::GrantGate gate({.attempt = 1,
                             .end_step = 9,
                             .coordinator_grace = absl::Milliseconds(1),
                             .clock = &RealClock::Get()});
      std::optional<StopCause> cause;
      const absl::Status status = AuthorizeOnAllRanks(gate, *communicator, 0, &cause).status();
      return Expect(absl::IsCancelled(status) && cause == StopCause::kGraceExpired,
                    status.ToString());
    });

bool RunRanks(const std::string& body) {
  comm::RankProcesses ranks({.body = body,
                             .world_size = 3,
                             .memfd_bytes = comm::LocalCommunicator::MemfdBytes(3, kRegion)});
  return ranks.AllSucceed();
}

TEST(AgreementTest, ADifferentTextIsFoundOnEveryRank) { EXPECT_TRUE(RunRanks("texts")); }

TEST(AgreementTest, TheFirstRanksErrorIsToldOnEveryRank) { EXPECT_TRUE(RunRanks("errors")); }

TEST(AgreementTest, ABrokenCommunicatorLeavesARankItsOwnError) { EXPECT_TRUE(RunRanks("broken")); }

TEST(AgreementTest, OneStoppedRankStopsAllForTheStrongestCause) { EXPECT_TRUE(RunRanks("stops")); }

TEST(AgreementTest, AnExpiredGraceStopsAll) { EXPECT_TRUE(RunRanks("grace")); }

}  // namespace
}  // namespace sotto::train

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
