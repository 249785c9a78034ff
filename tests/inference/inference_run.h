// A job that does not train, run by ranks that are threads of the test.
#ifndef SOTTO_TESTS_INFERENCE_INFERENCE_RUN_H_
#define SOTTO_TESTS_INFERENCE_INFERENCE_RUN_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/sotto/v1/plan.pb.h"
#include "worker/infer/inference_options.h"

namespace sotto::inference {

struct Ranks {
  v1::Strategy strategy = v1::FULL_SHARD;
  int world_size = 1;
  int shard_group_size = 1;  // HYBRID_SHARD
};

// One rank, and then every strategy.
inline constexpr Ranks kAllRanks[] = {
    {v1::FULL_SHARD, 1},     {v1::FULL_SHARD, 2},      {v1::FULL_SHARD, 3},
    {v1::FULL_SHARD, 4},     {v1::SHARD_GRAD_OP, 1},   {v1::SHARD_GRAD_OP, 2},
    {v1::SHARD_GRAD_OP, 4},  {v1::NO_SHARD, 1},        {v1::NO_SHARD, 2},
    {v1::NO_SHARD, 4},       {v1::HYBRID_SHARD, 2, 2}, {v1::HYBRID_SHARD, 4, 2},
    {v1::HYBRID_SHARD, 4, 1}};

std::string Describe(const Ranks& ranks);

// The plan of `spec` for the Hugging Face model in `directory`, one thread a rank.
v1::JobPlan PlanOf(const std::string& directory, const v1::InferenceSpec& spec, const Ranks& ranks);

// Runs all ranks to their end; the first error. OK: all were done or stopped alike.
absl::Status RunOnRanks(const v1::JobPlan& plan, const infer::Options& options = {},
                        infer::Outcome* outcome = nullptr);

// One line of a prompt file.
std::string PromptLine(const std::vector<int64_t>& tokens,
                       const std::vector<int64_t>& continuation = {});

}  // namespace sotto::inference

#endif  // SOTTO_TESTS_INFERENCE_INFERENCE_RUN_H_
