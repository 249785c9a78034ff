// What every Communicator must do. Each test starts the ranks as processes; a rank's body checks
// what it received.
#include <signal.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "gtest/gtest.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/solo_communicator.h"
#include "worker/comm/testing/rank_processes.h"

namespace sotto::comm {
namespace {

// Small, so that collectives of a few thousand values travel in several pieces.
int64_t RegionElements(int world_size) { return 32 * world_size * 5; }

absl::StatusOr<std::unique_ptr<Communicator>> Connect(const RankContext& context) {
  if (context.argument == "solo") return std::make_unique<SoloCommunicator>();
  ASSIGN_OR_RETURN(
      std::unique_ptr<Communicator> communicator,
      LocalCommunicator::Create({.rank = context.rank,
                                 .world_size = context.world_size,
                                 .memfd = context.memfd,
                                 .region_elements = RegionElements(context.world_size)}));
  return communicator;
}

absl::Status Expect(bool condition, absl::string_view what) {
  return condition ? absl::OkStatus() : absl::InternalError(what);
}

// A value whose sums depend on the order in which they are formed.
float Value(int rank, int64_t index) {
  return static_cast<float>(std::sin(rank * 1000.0 + index) * std::exp2(rank));
}

const RankBodyRegistration kAllGather("all_gather", [](const RankContext& context) -> absl::Status {
  ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> communicator, Connect(context));
  for (int64_t size : {0, 1, 32, 1000, 5000}) {
    std::vector<float> whole(size * context.world_size);
    float* const shard = whole.data() + size * context.rank;  // In place.
    for (int64_t i = 0; i < size; ++i) shard[i] = Value(context.rank, i);
    RETURN_IF_ERROR(
        communicator->AllGather({shard, static_cast<size_t>(size)}, absl::MakeSpan(whole)));
    for (int peer = 0; peer < context.world_size; ++peer) {
      for (int64_t i = 0; i < size; ++i) {
        RETURN_IF_ERROR(Expect(whole[peer * size + i] == Value(peer, i),
                               absl::StrCat("size ", size, " at ", i)));
      }
    }
  }
  return absl::OkStatus();
});

const RankBodyRegistration kReduce("reduce", [](const RankContext& context) -> absl::Status {
  ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> communicator, Connect(context));
  for (int64_t size : {0, 1, 32, 1000, 5000}) {
    std::vector<float> whole(size * context.world_size);
    for (size_t i = 0; i < whole.size(); ++i) whole[i] = Value(context.rank, i);
    std::vector<float> accumulator(size, 0.3f);
    RETURN_IF_ERROR(communicator->ReduceScatterAdd(whole, absl::MakeSpan(accumulator)));
    for (int64_t i = 0; i < size; ++i) {
      float expected = 0.3f;  // In rank order, into what was there.
      for (int peer = 0; peer < context.world_size; ++peer)
        expected += Value(peer, context.rank * size + i);
      RETURN_IF_ERROR(Expect(
          std::bit_cast<uint32_t>(accumulator[i]) == std::bit_cast<uint32_t>(expected),
          absl::StrCat("size ", size, " at ", i, ": ", accumulator[i], " is not ", expected)));
    }
  }
  return absl::OkStatus();
});

const RankBodyRegistration kSum("sum", [](const RankContext& context) -> absl::Status {
  ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> communicator, Connect(context));
  std::vector<double> values(1000);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(i + 0.1 * context.rank);
  RETURN_IF_ERROR(communicator->AllReduceSum(absl::MakeSpan(values)));
  for (size_t i = 0; i < values.size(); ++i) {
    double expected = 0;
    for (int peer = 0; peer < context.world_size; ++peer) expected += std::sin(i + 0.1 * peer);
    RETURN_IF_ERROR(Expect(values[i] == expected, absl::StrCat("at ", i)));
  }
  return absl::OkStatus();
});

// Sums of any length, in rank order, with the same bits on every rank.
const RankBodyRegistration kSumFloats("sum_floats", [](const RankContext& context) -> absl::Status {
  ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> communicator, Connect(context));
  for (int64_t size : {0, 1, 3, 32, 1000, 5000}) {
    std::vector<float> values(size);
    for (int64_t i = 0; i < size; ++i) values[i] = Value(context.rank, i);
    RETURN_IF_ERROR(communicator->AllReduceSum(absl::MakeSpan(values)));
    for (int64_t i = 0; i < size; ++i) {
      float expected = Value(0, i);
      for (int peer = 1; peer < context.world_size; ++peer) expected += Value(peer, i);
      RETURN_IF_ERROR(
          Expect(std::bit_cast<uint32_t>(values[i]) == std::bit_cast<uint32_t>(expected),
                 absl::StrCat("size ", size, " at ", i)));
    }
  }
  return absl::OkStatus();
});

// What one group exchanges stays in it, whether its ranks lie side by side or apart.
absl::Status CheckGroup(Communicator& communicator, const RankGroup& group) {
  const int own = group.IndexOf(communicator.rank());
  for (int64_t size : {1, 7, 1000}) {
    std::vector<float> shard(size), whole(size * group.size), sums(size, 0.3f);
    for (int64_t i = 0; i < size; ++i) shard[i] = Value(communicator.rank(), i);
    RETURN_IF_ERROR(communicator.AllGather(group, shard, absl::MakeSpan(whole)));
    for (int64_t i = 0; i < static_cast<int64_t>(whole.size()); ++i) {
      RETURN_IF_ERROR(Expect(whole[i] == Value(group.rank(i / size), i % size), "gathered"));
    }
    RETURN_IF_ERROR(communicator.ReduceScatterAdd(group, whole, absl::MakeSpan(sums)));
    std::vector<float> all = shard;
    RETURN_IF_ERROR(communicator.AllReduceSum(group, absl::MakeSpan(all)));
    std::vector<double> few(3, communicator.rank());
    RETURN_IF_ERROR(communicator.AllReduceSum(group, absl::MakeSpan(few)));
    for (int64_t i = 0; i < size; ++i) {
      float reduced = 0.3f, summed = 0;
      for (int peer = 0; peer < group.size; ++peer) {
        reduced += Value(group.rank(own), i);  // Everyone's slice of the same whole.
        summed = peer == 0 ? Value(group.rank(0), i) : summed + Value(group.rank(peer), i);
      }
      RETURN_IF_ERROR(Expect(sums[i] == reduced, "reduced"));
      RETURN_IF_ERROR(Expect(all[i] == summed, "summed"));
    }
    double ranks = 0;
    for (int peer = 0; peer < group.size; ++peer) ranks += group.rank(peer);
    RETURN_IF_ERROR(Expect(few[2] == ranks, "few values"));
  }
  return absl::OkStatus();
}

const RankBodyRegistration kGroups("groups", [](const RankContext& context) -> absl::Status {
  ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> communicator, Connect(context));
  for (int shards = 1; shards <= context.world_size; ++shards) {
    if (context.world_size % shards != 0) continue;
    const RankGroup side_by_side{.first = context.rank / shards * shards, .size = shards};
    RETURN_IF_ERROR(CheckGroup(*communicator, side_by_side));
    const RankGroup apart{
        .first = context.rank % shards, .stride = shards, .size = context.world_size / shards};
    RETURN_IF_ERROR(CheckGroup(*communicator, apart));
  }
  std::vector<float> values(4);
  const RankGroup without{.first = context.rank + 1, .size = 1};
  return Expect(
      absl::IsInvalidArgument(communicator->AllReduceSum(without, absl::MakeSpan(values))),
      "a group without this rank");
});

// Collectives of all kinds and sizes, one after the other: a rank that runs ahead must not
// overwrite what others read.
const RankBodyRegistration kMany("many", [](const RankContext& context) -> absl::Status {
  ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> communicator, Connect(context));
  for (int round = 0; round < 300; ++round) {
    const int64_t size = 1 + (round * 37) % 400;
    std::vector<float> shard(size, static_cast<float>(round + context.rank));
    std::vector<float> whole(size * context.world_size);
    RETURN_IF_ERROR(communicator->AllGather(shard, absl::MakeSpan(whole)));
    std::vector<float> sums(size);
    RETURN_IF_ERROR(communicator->ReduceScatterAdd(whole, absl::MakeSpan(sums)));
    for (float sum : sums) {
      RETURN_IF_ERROR(Expect(sum == static_cast<float>((round + context.rank) * context.world_size),
                             absl::StrCat("round ", round)));
    }
    if (round % 50 == 0) RETURN_IF_ERROR(communicator->Barrier());
  }
  return absl::OkStatus();
});

const RankBodyRegistration kSizes("sizes", [](const RankContext& context) -> absl::Status {
  ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> communicator, Connect(context));
  std::vector<float> shard(10), whole(10 * context.world_size + 1);
  RETURN_IF_ERROR(Expect(
      absl::IsInvalidArgument(communicator->AllGather(shard, absl::MakeSpan(whole))), "gather"));
  return Expect(
      absl::IsInvalidArgument(communicator->ReduceScatterAdd(whole, absl::MakeSpan(shard))),
      "reduce");
});

// Rank 0 aborts from another thread while the others wait for it.
const RankBodyRegistration kAbort("abort", [](const RankContext& context) -> absl::Status {
  ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> communicator, Connect(context));
  if (context.rank == 0) std::thread([&] { communicator->Abort(); }).join();
  RETURN_IF_ERROR(
      Expect(absl::IsAborted(communicator->Barrier()), "Barrier must fail with ABORTED"));
  std::vector<float> shard(10), whole(10 * context.world_size);
  return Expect(absl::IsAborted(communicator->AllGather(shard, absl::MakeSpan(whole))),
                "so must later calls");
});

// The last rank dies where the others wait for it. Only its death ends their wait: collectives have
// no timeout.
const RankBodyRegistration kKilled("killed", [](const RankContext& context) -> absl::Status {
  ASSIGN_OR_RETURN(const std::unique_ptr<Communicator> communicator, Connect(context));
  RETURN_IF_ERROR(communicator->Barrier());
  if (context.rank == context.world_size - 1) raise(SIGKILL);
  return Expect(absl::IsUnavailable(communicator->Barrier()), "Barrier must fail with UNAVAILABLE");
});

const RankBodyRegistration kLeaves("leaves", [](const RankContext& context) -> absl::Status {
  ASSIGN_OR_RETURN(std::unique_ptr<Communicator> communicator, Connect(context));
  RETURN_IF_ERROR(communicator->Barrier());
  if (context.rank == 0) communicator.reset();
  if (context.rank == 0) return absl::OkStatus();
  return Expect(absl::IsUnavailable(communicator->Barrier()), "Barrier must fail with UNAVAILABLE");
});

bool RunRanks(const std::string& body, int world_size, int except = -1) {
  const bool solo = world_size == 1;
  RankProcesses ranks(
      {.body = body,
       .world_size = world_size,
       .memfd_bytes = LocalCommunicator::MemfdBytes(world_size, RegionElements(world_size)),
       .argument = solo ? "solo" : "local"});
  return ranks.AllSucceed(except, absl::Seconds(100));
}

// World size 1 is SoloCommunicator.
class CommunicatorConformanceTest : public ::testing::TestWithParam<std::tuple<std::string, int>> {
};

TEST_P(CommunicatorConformanceTest, Holds) {
  const auto& [body, world_size] = GetParam();
  EXPECT_TRUE(RunRanks(body, world_size));
}

INSTANTIATE_TEST_SUITE_P(All, CommunicatorConformanceTest,
                         ::testing::Combine(::testing::Values("all_gather", "reduce", "sum",
                                                              "sum_floats", "groups", "many",
                                                              "sizes", "abort"),
                                            ::testing::Values(1, 2, 3, 4, 8)),
                         [](const auto& info) {
                           return absl::StrCat(std::get<0>(info.param), "_",
                                               std::get<1>(info.param), "_ranks");
                         });

TEST(LocalCommunicatorTest, AKilledPeerFailsTheOthersWhoWaitForIt) {
  EXPECT_TRUE(RunRanks("killed", 4, /*except=*/3));
}

TEST(LocalCommunicatorTest, APeerThatLeavesFailsThoseWhoWaitForIt) {
  EXPECT_TRUE(RunRanks("leaves", 3));
}

TEST(LocalCommunicatorTest, AWorldOfOneWorksToo) {
  RankProcesses ranks({.body = "many",
                       .world_size = 1,
                       .memfd_bytes = LocalCommunicator::MemfdBytes(1, RegionElements(1)),
                       .argument = "local"});
  EXPECT_TRUE(ranks.AllSucceed());
}

const RankBodyRegistration kLonely("lonely", [](const RankContext& context) -> absl::Status {
  const absl::Status status = LocalCommunicator::Create({.rank = 0,
                                                         .world_size = 2,
                                                         .memfd = context.memfd,
                                                         .region_elements = RegionElements(2),
                                                         .attach_timeout = absl::Milliseconds(50)})
                                  .status();
  return Expect(absl::IsUnavailable(status), status.ToString());
});

TEST(LocalCommunicatorTest, ARankThatNeverAttachesIsNotWaitedForForever) {
  RankProcesses ranks(
      {.body = "lonely", .memfd_bytes = LocalCommunicator::MemfdBytes(2, RegionElements(2))});
  EXPECT_TRUE(ranks.AllSucceed());
}

const RankBodyRegistration kTooSmall("too_small", [](const RankContext& context) -> absl::Status {
  const absl::Status status =
      LocalCommunicator::Create({.memfd = context.memfd, .region_elements = RegionElements(1)})
          .status();
  return Expect(absl::IsInvalidArgument(status), status.ToString());
});

TEST(LocalCommunicatorTest, RefusesAMemfdThatIsTooSmall) {
  RankProcesses ranks({.body = "too_small", .memfd_bytes = 4096});
  EXPECT_TRUE(ranks.AllSucceed());
}

}  // namespace
}  // namespace sotto::comm

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
