#include "tools/check/training_rank.h"

#include <memory>
#include <utility>

#include "ATen/Parallel.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "tools/check/step_recorder.h"
#include "worker/comm/connect.h"
#include "worker/comm/local_communicator.h"
#include "worker/grant/grant_gate.h"
#include "worker/memory/tensor_memory.h"
#include "worker/training.h"

namespace sotto::check {
namespace {

std::string PlanPath(const std::string& directory) { return directory + "/plan.bin"; }
std::string OptionsPath(const std::string& directory) { return directory + "/options.json"; }
std::string RecordPath(const std::string& directory) { return directory + "/record.bin"; }

absl::StatusOr<RunRequest> ReadRequest(const std::string& directory) {
  RunRequest request;
  ASSIGN_OR_RETURN(const std::string plan, ReadFile(PlanPath(directory)));
  ASSIGN_OR_RETURN(const std::string text, ReadFile(OptionsPath(directory)));
  if (!request.plan.ParseFromString(plan)) return absl::DataLossError("the plan cannot be parsed");
  const nlohmann::json options = nlohmann::json::parse(text);  // our own parent wrote it
  request.measures_parameters = options.at("measures_parameters");
  request.snapshots = {.write_to = options.at("write_to"),
                       .last_only = options.at("last_only"),
                       .compare_with = options.at("compare_with")};
  request.checkpoint_directory = options.at("checkpoint_directory");
  return request;
}

}  // namespace

absl::Status WriteRequest(const RunRequest& request, const std::string& directory) {
  const nlohmann::json options = {{"measures_parameters", request.measures_parameters},
                                  {"write_to", request.snapshots.write_to},
                                  {"last_only", request.snapshots.last_only},
                                  {"compare_with", request.snapshots.compare_with},
                                  {"checkpoint_directory", request.checkpoint_directory}};
  RETURN_IF_ERROR(AtomicWriteFile(PlanPath(directory), request.plan.SerializeAsString()));
  return AtomicWriteFile(OptionsPath(directory), options.dump());
}

absl::Status TrainAsRank(const RankContext& context) {
  memory::CountTensors();
  SetMinLogSeverity(LogSeverity::kWARNING);
  ASSIGN_OR_RETURN(const RunRequest request, ReadRequest(context.directory));
  const int64_t steps = request.plan.train().steps();
  at::set_num_threads(request.plan.sharding().threads_per_rank());
  ASSIGN_OR_RETURN(
      const std::unique_ptr<comm::Communicator> communicator,
      comm::Connect({.rank = context.rank,
                     .world_size = context.world_size,
                     .memfd = context.memfd,
                     .region_elements = comm::LocalCommunicator::RegionElements(
                         context.world_size, request.plan.sharding().communicator_bytes())}));
  grant::GrantGate gate({.attempt = 1, .end_step = steps, .clock = &RealClock::Get()});
  RETURN_IF_ERROR(gate.Extend({.first_step = 0, .end_step = steps, .attempt = 1}));
  StepRecorder recorder(request, RealClock::Get());
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Training> training,
      Training::Create({.plan = request.plan,
                        .job = kJobName,
                        .attempt = 1,
                        .checkpoint_directory = request.checkpoint_directory,
                        .end_step = steps},
                       crypto::Secret::FromPublicSeed(request.plan.spec().privacy().seed()),
                       {.communicator = *communicator,
                        .gate = gate,
                        .observer = recorder,
                        .clock = RealClock::Get()}));
  recorder.Observe(training->parameters(), training->phase_profile());
  RETURN_IF_ERROR(training->Run().status());
  ASSIGN_OR_RETURN(const RecordedRun run, recorder.Finish());
  if (context.rank == 0) {
    RETURN_IF_ERROR(AtomicWriteFile(RecordPath(context.directory), RunToBytes(run)));
  }
  return communicator->Barrier();
}

absl::StatusOr<RecordedRun> ReadRecord(const std::string& directory) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(RecordPath(directory)));
  return RunFromBytes(bytes);
}

}  // namespace sotto::check
