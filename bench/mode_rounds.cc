#include "bench/mode_rounds.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/spec/device_profile_message.h"
#include "google/protobuf/text_format.h"

namespace sotto::bench {
namespace {

constexpr int kLeastRounds = 3;

absl::StatusOr<std::string> OneLineOf(const std::vector<std::string>& arguments) {
  ASSIGN_OR_RETURN(const std::unique_ptr<ChildProcess> child,
                   ChildProcess::Start(ChildProcess::kOwnExecutable, arguments));
  return child->ReadLine();
}

// "20 layers EXAMPLE_GRADS, 13 layers OUTPUT_GRADS".
std::string DescribeChoice(const v1::JobPlan& plan) {
  std::map<std::string, int> layers;
  for (const v1::LayerPlan& layer : plan.sharding().layers()) {
    ++layers[v1::UnitMode::Kept_Name(layer.mode().kept())];
  }
  return absl::StrJoin(layers, ", ", [](std::string* out, const auto& entry) {
    absl::StrAppend(out, entry.second, " layers ", entry.first);
  });
}

// A contender with its process.
struct Contender {
  Measured measured;
  std::unique_ptr<MeasuredProcess> process;
};

class Rounds {
 public:
  Rounds(const RoundsRequest& request, const layout::DeviceProfile& profile,
         const PeerPrograms& peers)
      : request_(request), profile_(profile), peers_(peers) {}

  absl::Status Start() {
    result_.shape = request_.shape;
    result_.rounds_asked = request_.rounds;
    RETURN_IF_ERROR(PrepareRecords());
    for (const std::string& mode : request_.modes) RETURN_IF_ERROR(StartMode(mode));
    for (const std::string& system : request_.peers) RETURN_IF_ERROR(StartPeer(system));
    return absl::OkStatus();
  }

  absl::Status Run(Clock& clock, std::ostream& progress) {
    const absl::Time begin = clock.Now();
    for (int round = 0; round < request_.rounds; ++round) {
      if (round >= kLeastRounds && clock.Now() > request_.deadline) break;
      for (Contender* next : NextOrder()) {
        Contender& contender = *next;
        ASSIGN_OR_RETURN(const StepTimes times, contender.process->Step());
        contender.measured.steps.push_back(times);
        contender.measured.rounds.push_back(round);
      }
      result_.rounds = round + 1;
      if (round == 0) Announce(clock.Now() - begin, progress);
    }
    return absl::OkStatus();
  }

  MeasuredShape Take() {
    for (Contender& contender : contenders_) {
      contender.measured.peak_bytes = contender.process->peak_bytes();
      contender.measured.tensor_peak_bytes = contender.process->tensor_peak_bytes();
      result_.contenders.push_back(std::move(contender.measured));
    }
    return std::move(result_);
  }

 private:
  // Another order in every round: whoever follows a system whose threads still spin, or finds the
  // caches full of another's data, is not always the same one.
  std::vector<Contender*> NextOrder() {
    std::vector<Contender*> order;
    for (Contender& contender : contenders_) order.push_back(&contender);
    std::shuffle(order.begin(), order.end(), generator_);
    return order;
  }

  void Announce(absl::Duration round, std::ostream& progress) const {
    progress << absl::StreamFormat(
                    "%s, T=%d: a round of %d systems takes %.1f s, %d rounds %.1f minutes",
                    request_.shape.model, request_.shape.tokens, contenders_.size(),
                    absl::ToDoubleSeconds(round), request_.rounds,
                    absl::ToDoubleMinutes(request_.rounds * round))
             << std::endl;
  }

  absl::StatusOr<std::string> WritePlan(const v1::JobPlan& plan, const std::string& mode) {
    const std::string path = absl::StrCat(request_.folder, "/", mode, ".plan");
    RETURN_IF_ERROR(AtomicWriteFile(path, plan.SerializeAsString()));
    return path;
  }

  absl::Status PrepareRecords() {
    records_.path = absl::StrCat(request_.folder, "/records.tokens");
    ASSIGN_OR_RETURN(records_.sha256, WriteRecords(request_.shape, records_.path));
    ASSIGN_OR_RETURN(const v1::JobPlan plan,
                     MakeModePlan(request_.shape, "flash", records_, profile_));
    result_.parameters = plan.train().parameters();
    ASSIGN_OR_RETURN(const std::string path, WritePlan(plan, "norms"));
    ASSIGN_OR_RETURN(const std::string line, OneLineOf({"--norms_of", path}));
    if (!absl::SimpleAtod(line, &records_.clip_norm) || !(records_.clip_norm > 0)) {
      return absl::InternalError(absl::StrCat("no norm: ", line));
    }
    result_.clip_norm = records_.clip_norm;
    return absl::OkStatus();
  }

  absl::Status StartMode(const std::string& mode) {
    ASSIGN_OR_RETURN(const v1::JobPlan plan,
                     MakeModePlan(request_.shape, mode, records_, profile_));
    ASSIGN_OR_RETURN(const std::string path, WritePlan(plan, mode));
    Contender contender;
    contender.measured.name = mode;
    contender.measured.planned_bytes = PlannedBytes(plan);
    contender.measured.planned_tensor_bytes = PlannedTensorBytes(plan);
    if (mode == "auto") contender.measured.choice = DescribeChoice(plan);
    ASSIGN_OR_RETURN(contender.process,
                     MeasuredProcess::Start(ChildProcess::kOwnExecutable, {"--train", path}));
    contenders_.push_back(std::move(contender));
    return absl::OkStatus();
  }

  absl::Status StartPeer(const std::string& system) {
    const ModeShape& shape = request_.shape;
    std::vector<std::string> arguments = {peers_.script, "--system", system, "--clip_norm",
                                          absl::StrCat(records_.clip_norm)};
    const std::pair<const char*, int64_t> numbers[] = {
        {"--tokens", shape.tokens},   {"--examples", shape.examples},
        {"--width", shape.width},     {"--micro_batches", shape.micro_batches},
        {"--layers", shape.layers},   {"--vocabulary", shape.vocabulary_size},
        {"--threads", shape.threads}, {"--heads", shape.heads}};
    for (const auto& [name, value] : numbers) {
      arguments.push_back(name);
      arguments.push_back(absl::StrCat(value));
    }
    Contender contender;
    contender.measured.name = system;
    contender.measured.is_peer = true;
    ASSIGN_OR_RETURN(contender.process, MeasuredProcess::Start(peers_.python, arguments));
    contenders_.push_back(std::move(contender));
    return absl::OkStatus();
  }

  const RoundsRequest& request_;
  const layout::DeviceProfile& profile_;
  const PeerPrograms& peers_;
  ModeRecords records_;
  std::vector<Contender> contenders_;
  std::mt19937 generator_{1};
  MeasuredShape result_;
};

}  // namespace

absl::StatusOr<layout::DeviceProfile> MeasureProfile(int threads) {
  ASSIGN_OR_RETURN(const std::string line,
                   OneLineOf({"--profile_device", "--threads", absl::StrCat(threads)}));
  v1::DeviceProfile message;
  if (!google::protobuf::TextFormat::ParseFromString(line, &message)) {
    return absl::InternalError(absl::StrCat("no device profile: ", line));
  }
  return spec::ProfileOf(message);
}

absl::StatusOr<MeasuredShape> MeasureRounds(const RoundsRequest& request,
                                            const layout::DeviceProfile& profile,
                                            const PeerPrograms& peers, Clock& clock,
                                            std::ostream& progress) {
  Rounds rounds(request, profile, peers);
  RETURN_IF_ERROR(rounds.Start());
  RETURN_IF_ERROR(rounds.Run(clock, progress));
  return rounds.Take();
}

}  // namespace sotto::bench
