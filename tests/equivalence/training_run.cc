#include "tests/equivalence/training_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "ATen/Parallel.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "tests/equivalence/gathered.h"
#include "tests/equivalence/padding.h"
#include "worker/comm/connect.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/solo_communicator.h"
#include "worker/comm/testing/rank_processes.h"
#include "worker/memory/resident_memory.h"
#include "worker/memory/tensor_memory.h"
#include "worker/train/agreement.h"
#include "worker/training.h"

namespace sotto::equivalence {
namespace {

// Every rank's own.
absl::StatusOr<std::vector<double>> OfAllRanks(comm::Communicator& communicator, int64_t own) {
  std::vector<double> values(communicator.world_size());
  values[communicator.rank()] = static_cast<double>(own);
  RETURN_IF_ERROR(communicator.AllReduceSum(absl::MakeSpan(values)));
  return values;
}

// The largest of the ranks' own.
absl::StatusOr<int64_t> Largest(comm::Communicator& communicator, int64_t own) {
  ASSIGN_OR_RETURN(const std::vector<double> peaks, OfAllRanks(communicator, own));
  return static_cast<int64_t>(*std::max_element(peaks.begin(), peaks.end()));
}

class RecordingObserver : public train::TrainObserver {
 public:
  void OnProgress(int64_t, double) override {}
  void OnStep(const dp::NoisedMetrics& metrics, double, double) override {
    losses.push_back(metrics.raw().has_value() ? metrics.raw()->mean_loss : std::nan(""));
    batch_sizes.push_back(metrics.raw().has_value() ? metrics.raw()->sampled_batch_size
                                                    : std::nan(""));
    clip_norms.push_back(metrics.clip_norm());
  }
  void OnEvaluation(int64_t, double loss) override { evaluations.push_back(loss); }
  void OnCheckpoint(int64_t, const std::string&) override {}
  void OnCachesCleared(int64_t completed_steps, int64_t) override {
    clearings.push_back(static_cast<double>(completed_steps));
  }
  void OnNote(const std::string&) override {}

  std::vector<double> losses;
  std::vector<double> batch_sizes;
  std::vector<double> clip_norms;
  std::vector<double> evaluations;
  std::vector<double> clearings;
};

// What a rank reads in the run's directory: plan.bin and run.txt.
struct RankInput {
  v1::JobPlan plan;
  int64_t first_step = 0;
  int64_t end_step = 0;
  std::string checkpoint_directory;
};

absl::StatusOr<RankInput> ReadInput(const std::string& directory) {
  ASSIGN_OR_RETURN(const std::string plan, ReadFile(absl::StrCat(directory, "/plan.bin")));
  ASSIGN_OR_RETURN(const std::string run, ReadFile(absl::StrCat(directory, "/run.txt")));
  const std::vector<std::string> words = absl::StrSplit(run, '\n');
  RankInput input{.checkpoint_directory = words[2]};
  SOTTO_CHECK(input.plan.ParseFromString(plan) && absl::SimpleAtoi(words[0], &input.first_step) &&
              absl::SimpleAtoi(words[1], &input.end_step));
  return input;
}

// The same bits on every rank, and zeros where padding is. Returns the parameters.
absl::StatusOr<std::string> GatherAndCheck(comm::Communicator& communicator, Training& training,
                                           const std::vector<optim::StateTensor>& state) {
  ASSIGN_OR_RETURN(std::string parameters, GatherParameters(training.parameters()));
  RETURN_IF_ERROR(train::CheckRanksAgree(communicator, "model", parameters));
  ASSIGN_OR_RETURN(const std::string state_bits, GatherState(training.parameters(), state));
  RETURN_IF_ERROR(train::CheckRanksAgree(communicator, "optimizer's state", state_bits));
  RETURN_IF_ERROR(CheckPaddingIsZero(training.parameters(), state));
  return parameters;
}

// Every digit with `exactly`: of what is compared for equality.
absl::Status WriteNumbers(const std::string& path, const std::vector<double>& numbers,
                          bool exactly = false) {
  return AtomicWriteFile(
      path, absl::StrJoin(numbers, " ", [&](std::string* out, double number) {
        absl::StrAppend(out, exactly ? absl::StrFormat("%.17g", number) : absl::StrCat(number));
      }));
}

absl::Status WriteSeries(const std::string& directory, const RecordingObserver& observer) {
  RETURN_IF_ERROR(WriteNumbers(absl::StrCat(directory, "/losses.txt"), observer.losses));
  RETURN_IF_ERROR(WriteNumbers(absl::StrCat(directory, "/batch_sizes.txt"), observer.batch_sizes));
  RETURN_IF_ERROR(WriteNumbers(absl::StrCat(directory, "/clip_norms.txt"), observer.clip_norms,
                               /*exactly=*/true));
  RETURN_IF_ERROR(WriteNumbers(absl::StrCat(directory, "/evaluations.txt"), observer.evaluations));
  return WriteNumbers(absl::StrCat(directory, "/clearings.txt"), observer.clearings);
}

// One rank's training. The argument is the run's directory; rank 0 leaves there what Train reads.
absl::Status TrainRank(const comm::RankContext& context) {
  const std::string& directory = context.argument;
  ASSIGN_OR_RETURN(const RankInput input, ReadInput(directory));
  memory::CountTensors();
  at::set_num_threads(input.plan.sharding().threads_per_rank());
  ASSIGN_OR_RETURN(
      const std::unique_ptr<comm::Communicator> communicator,
      comm::Connect({.rank = context.rank,
                     .world_size = context.world_size,
                     .memfd = context.memfd,
                     .region_elements = comm::LocalCommunicator::RegionElements(
                         context.world_size, input.plan.sharding().communicator_bytes())}));
  RecordingObserver observer;
  grant::GrantGate gate({.attempt = 1, .end_step = input.end_step, .clock = &RealClock::Get()});
  RETURN_IF_ERROR(
      gate.Extend({.first_step = input.first_step, .end_step = input.end_step, .attempt = 1}));
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Training> training,
      Training::Create({.plan = input.plan,
                        .job = "job-1",
                        .attempt = 1,
                        .checkpoint_directory = input.checkpoint_directory,
                        .end_step = input.end_step},
                       crypto::Secret::FromPublicSeed(input.plan.spec().privacy().seed()),
                       {.communicator = *communicator,
                        .gate = gate,
                        .observer = observer,
                        .clock = RealClock::Get()}));
  RETURN_IF_ERROR(training->Run().status());
  ASSIGN_OR_RETURN(const int64_t tensor_peak, Largest(*communicator, memory::TensorPeakBytes()));
  ASSIGN_OR_RETURN(const int64_t resident_peak,
                   Largest(*communicator, memory::PeakResidentBytes()));
  const std::vector<optim::StateTensor> state = training->optimizer().State();
  ASSIGN_OR_RETURN(const std::string parameters, GatherAndCheck(*communicator, *training, state));
  RETURN_IF_ERROR(train::CheckRanksAgree(*communicator, "clearings of caches",
                                         absl::StrJoin(observer.clearings, " ")));
  ASSIGN_OR_RETURN(const std::vector<double> state_bytes,
                   OfAllRanks(*communicator, StateBytes(state)));
  if (context.rank == 0) {
    RETURN_IF_ERROR(AtomicWriteFile(absl::StrCat(directory, "/parameters.bin"), parameters));
    RETURN_IF_ERROR(WriteSeries(directory, observer));
    RETURN_IF_ERROR(AtomicWriteFile(absl::StrCat(directory, "/peaks.txt"),
                                    absl::StrCat(tensor_peak, " ", resident_peak)));
    RETURN_IF_ERROR(AtomicWriteFile(absl::StrCat(directory, "/state_bytes.txt"),
                                    absl::StrJoin(state_bytes, " ")));
  }
  return communicator->Barrier();
}

const comm::RankBodyRegistration kTrain("train", TrainRank);

std::vector<double> ReadNumbers(const std::string& path) {
  std::vector<double> numbers;
  for (absl::string_view word : absl::StrSplit(*ReadFile(path), ' ', absl::SkipEmpty())) {
    SOTTO_CHECK(absl::SimpleAtod(word, &numbers.emplace_back()));
  }
  return numbers;
}

}  // namespace

absl::StatusOr<int64_t> TensorPeakOf(const v1::JobPlan& plan, int64_t end_step) {
  memory::CountTensors();
  const int64_t before = memory::TensorLiveBytes();
  memory::ResetTensorPeak();
  at::set_num_threads(plan.sharding().threads_per_rank());
  comm::SoloCommunicator communicator;
  grant::GrantGate gate({.attempt = 1, .end_step = end_step, .clock = &RealClock::Get()});
  RETURN_IF_ERROR(gate.Extend({.first_step = 0, .end_step = end_step, .attempt = 1}));
  RecordingObserver observer;
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Training> training,
      Training::Create({.plan = plan, .job = "job-1", .attempt = 1, .end_step = end_step},
                       crypto::Secret::FromPublicSeed(plan.spec().privacy().seed()),
                       {.communicator = communicator,
                        .gate = gate,
                        .observer = observer,
                        .clock = RealClock::Get()}));
  RETURN_IF_ERROR(training->Run().status());
  return memory::TensorPeakBytes() - before;
}

RunResult Train(const std::string& directory, const RunOptions& options) {
  const v1::JobPlan plan = MakePlan(directory, options);
  SOTTO_CHECK_OK(AtomicWriteFile(absl::StrCat(directory, "/plan.bin"), plan.SerializeAsString()));
  SOTTO_CHECK_OK(AtomicWriteFile(absl::StrCat(directory, "/run.txt"),
                                 absl::StrCat(options.first_step, "\n", options.end_step, "\n",
                                              options.checkpoint_directory)));
  comm::RankProcesses ranks({.body = "train",
                             .world_size = options.world_size,
                             .memfd_bytes = plan.sharding().communicator_bytes(),
                             .argument = directory});
  RunResult result{.succeeded = ranks.AllSucceed()};
  if (!result.succeeded) return result;
  const std::string bytes = *ReadFile(absl::StrCat(directory, "/parameters.bin"));
  result.parameters.resize(bytes.size() / sizeof(float));
  std::memcpy(result.parameters.data(), bytes.data(), bytes.size());
  result.losses = ReadNumbers(absl::StrCat(directory, "/losses.txt"));
  result.batch_sizes = ReadNumbers(absl::StrCat(directory, "/batch_sizes.txt"));
  result.clip_norms = ReadNumbers(absl::StrCat(directory, "/clip_norms.txt"));
  result.evaluations = ReadNumbers(absl::StrCat(directory, "/evaluations.txt"));
  result.clearings = ReadNumbers(absl::StrCat(directory, "/clearings.txt"));
  result.state_bytes = ReadNumbers(absl::StrCat(directory, "/state_bytes.txt"));
  const std::vector<double> peaks = ReadNumbers(absl::StrCat(directory, "/peaks.txt"));
  result.tensor_peak_bytes = static_cast<int64_t>(peaks[0]);
  result.resident_peak_bytes = static_cast<int64_t>(peaks[1]);
  return result;
}

}  // namespace sotto::equivalence
