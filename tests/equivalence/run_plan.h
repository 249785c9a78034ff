// The plan of a whole training without a coordinator, for tests that compare runs.
#ifndef SOTTO_TESTS_EQUIVALENCE_RUN_PLAN_H_
#define SOTTO_TESTS_EQUIVALENCE_RUN_PLAN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/layout/gradient_mode.h"
#include "common/layout/model_description.h"
#include "proto/sotto/v1/plan.pb.h"

namespace sotto::equivalence {

struct RunOptions {
  int world_size = 1;
  std::string mode = "per_example";
  bool deferred_norms = false;
  std::string strategy = "FULL_SHARD";
  int shard_group_size = 0;         // HYBRID_SHARD
  std::vector<std::string> frozen;  // name patterns
  double noise_multiplier = 0;
  int64_t first_step = 0;  // of the grant; a checkpoint must lead there
  int64_t end_step = 10;
  std::string checkpoint_directory;  // empty: none
  int64_t records = 40;              // of the token file
  double sampling_rate = 0.5;
  int32_t micro_batch_size = 3;
  int threads_per_rank = 1;
  double clip_norm = 0.5;
  bool tied_head = true;
  double adam_epsilon = 1e-8;
  double sgd_learning_rate = 0;  // above 0: SGD without momentum or decay in AdamW's place
  int32_t width = 16;
  int32_t layers = 3;
  int32_t heads = 2;
  int32_t vocabulary_size = 29;
  int32_t max_length = 12;   // of the model and the records, divisible by 3
  bool score_tokens = true;  // false: no token counts in any loss
  uint64_t seed = 99;
  std::function<void(v1::ModelSpec&)> choose_model;  // in place of, or added to, the GPT-2
  int32_t classes = 0;                               // above 0: records have labels
  // A mode for each layer, as `auto` chooses; `mode` is then the job's.
  std::function<layout::LayerModes(const layout::ModelDescription&)> layer_modes;
  std::function<void(v1::JobPlan&)> adjust;  // last: what the options above do not say
};

// A GPT-2 of a few thousand parameters and a plan for it, as planning would resolve it, not
// private, with a fixed seed. The token file is written below `directory`.
v1::JobPlan MakePlan(const std::string& directory, const RunOptions& options);

// Units, memory and hash of the plan as its other fields say: after an `adjust` that changes what
// is a unit, stays gathered or is computed again.
void PlaceAgain(v1::JobPlan& plan);

}  // namespace sotto::equivalence

#endif  // SOTTO_TESTS_EQUIVALENCE_RUN_PLAN_H_
