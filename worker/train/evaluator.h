// The mean loss over a public file.
#ifndef SOTTO_WORKER_TRAIN_EVALUATOR_H_
#define SOTTO_WORKER_TRAIN_EVALUATOR_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/dataset/token_file.h"
#include "worker/comm/communicator.h"
#include "worker/data/example_draws.h"
#include "worker/data/micro_batch_plan.h"
#include "worker/data/record_loader.h"
#include "worker/train/executor.h"

namespace sotto::train {

// Trainer thread only; collective. The file is public: what it returns is neither clipped nor
// noised.
class Evaluator {
 public:
  // Borrows all but the lengths. `file` was validated. `draws`: of a diffusion, else null; the same
  // for a record in every evaluation.
  Evaluator(const dataset::TokenFile& file, std::vector<int32_t> lengths, int32_t micro_batch_size,
            Executor& executor, comm::Communicator& communicator,
            const data::ExampleDraws* draws = nullptr);

  // Mean over the file's records of each record's loss, the same on all ranks; 0 for a file without
  // records.
  absl::StatusOr<double> MeanLoss();

 private:
  const int64_t num_records_;
  const data::RecordLoader loader_;
  Executor& executor_;
  comm::Communicator& communicator_;
  const data::ExampleDraws* const draws_;
  std::vector<data::PlannedMicroBatch> own_;
};

}  // namespace sotto::train

#endif  // SOTTO_WORKER_TRAIN_EVALUATOR_H_
