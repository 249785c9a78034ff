// A rank that starts holds 1/W of the parameters, the root and one block, and never a whole model,
// whether its weights are drawn or read from a Hugging Face directory; one that resumes from a
// checkpoint holds its state once. Gradients are left out, so
// that nothing but parameters fills the bound: an eighth of the model beside them would not fit.
// Counted are all tensors and all of operator new, to the byte, at their peaks. The resident set,
// in which memory that a C library asked the system for itself would be seen, also holds what the
// heap keeps and what libraries touch, which differs between machines: a model of 300 MB leaves
// room.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "ATen/core/Tensor.h"
#include "ATen/ops/full.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/base/status_matchers.h"
#include "common/checkpoint/hugging_face_writer.h"
#include "common/layout/init_values.h"
#include "common/layout/llama_description.h"
#include "gtest/gtest.h"
#include "worker/checkpoint/checkpointer.h"
#include "worker/comm/connect.h"
#include "worker/comm/local_communicator.h"
#include "worker/comm/testing/rank_processes.h"
#include "worker/fsdp/sharded_parameters.h"
#include "worker/memory/resident_memory.h"
#include "worker/memory/tensor_memory.h"
#include "worker/train/initial_weights.h"

namespace sotto::equivalence {
namespace {

// What operator new gave and has not got back, and the most of it; tensors have other memory.
std::atomic<int64_t> heap_bytes{0};
std::atomic<int64_t> heap_peak{0};

void* Allocate(size_t bytes) {
  void* memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  const int64_t now = heap_bytes += static_cast<int64_t>(malloc_usable_size(memory));
  int64_t peak = heap_peak.load();
  while (now > peak && !heap_peak.compare_exchange_weak(peak, now)) {
  }
  return memory;
}

void Free(void* memory) {
  if (memory != nullptr) heap_bytes -= static_cast<int64_t>(malloc_usable_size(memory));
  std::free(memory);
}

}  // namespace
}  // namespace sotto::equivalence

void* operator new(size_t bytes) { return sotto::equivalence::Allocate(bytes); }
void* operator new[](size_t bytes) { return sotto::equivalence::Allocate(bytes); }
void operator delete(void* memory) noexcept { sotto::equivalence::Free(memory); }
void operator delete[](void* memory) noexcept { sotto::equivalence::Free(memory); }
void operator delete(void* memory, size_t) noexcept { sotto::equivalence::Free(memory); }
void operator delete[](void* memory, size_t) noexcept { sotto::equivalence::Free(memory); }

namespace sotto::equivalence {
namespace {

constexpr int kWorldSize = 4;
constexpr uint64_t kSeed = 7;
constexpr int64_t kRegionElements = 32 * kWorldSize * 64;
// Names, views, and a piece of the file as floats: an eighth of the model.
constexpr int64_t kHeapBytes = int64_t{820} << 10;

layout::ModelDescription MakeModel(int64_t layers, int64_t width) {
  return *layout::MakeLlamaDescription({.vocabulary_size = 64,
                                        .width = width,
                                        .layers = layers,
                                        .heads = 4,
                                        .key_value_heads = 4,
                                        .head_width = width / 4,
                                        .mlp_width = 8 * width / 3,
                                        .max_length = 16,
                                        .tied_head = false});
}

// 16 blocks of 0.4 MB, so that slots are small beside the whole.
layout::ModelDescription Model() { return MakeModel(/*layers=*/16, /*width=*/96); }

// 24 blocks of 12.6 MB.
layout::ModelDescription LargeModel() { return MakeModel(/*layers=*/24, /*width=*/512); }

int64_t WholeBytes(const layout::ModelDescription& model) {
  return model.num_elements() * int64_t{sizeof(float)};
}

// Writes the drawn weights as bfloat16, tensor after tensor.
void WriteDirectory(const layout::ModelDescription& model, const std::string& directory) {
  std::vector<checkpoint::TensorShape> tensors;
  for (const layout::UnitDescription& unit : model.units) {
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      tensors.push_back(
          {.name = checkpoint::HuggingFaceName("llama", parameter.name), .shape = parameter.shape});
    }
  }
  auto writer = checkpoint::HuggingFaceWriter::Create(
      {.directory = directory, .config = "{}", .max_file_bytes = WholeBytes(model) / 3}, tensors);
  ASSERT_OK(writer.status());
  int64_t index = 0;
  for (const layout::UnitDescription& unit : model.units) {
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      std::vector<float> values(parameter.num_elements());
      layout::FillInitialValues(parameter, kSeed, index++, 0, absl::MakeSpan(values));
      ASSERT_OK((*writer)->Append(values));
    }
  }
  ASSERT_OK((*writer)->Finish());
}

// What a rank cannot do without: its part of every unit, the root and the largest block whole, all
// padded to a multiple of W blocks of 128 bytes.
int64_t LeastBytes(const layout::ModelDescription& model, int world_size) {
  int64_t whole = 0, root = 0, block = 0;
  for (const layout::UnitDescription& unit : model.units) {
    int64_t elements = 0;
    for (const layout::ParameterDescription& parameter : unit.parameters) {
      elements += parameter.num_elements();
    }
    whole += elements;
    int64_t& largest = &unit == &model.units.front() ? root : block;
    largest = std::max(largest, elements);
  }
  const int64_t units = static_cast<int64_t>(model.units.size());
  const int64_t padding = 32 * units + 2 * 32 * world_size;  // of shards, of two whole units
  return (whole / world_size + root + block + padding) * int64_t{sizeof(float)};
}

absl::Status ExpectAtMost(absl::string_view what, int64_t bytes, int64_t most) {
  if (bytes <= most) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(what, " held ", bytes, " bytes, beyond ", most));
}

std::unique_ptr<comm::Communicator> ConnectTo(const comm::RankContext& context) {
  return *comm::Connect({.rank = context.rank,
                         .world_size = context.world_size,
                         .memfd = context.memfd,
                         .region_elements = kRegionElements});
}

// `directory`: of Hugging Face; empty: weights are drawn.
absl::StatusOr<std::unique_ptr<fsdp::ShardedParameters>> StartFrom(
    const std::string& directory, const layout::ModelDescription& model,
    const layout::FlatLayout& layout, comm::Communicator& communicator) {
  ASSIGN_OR_RETURN(std::unique_ptr<fsdp::ShardedParameters> parameters,
                   fsdp::ShardedParameters::Create(
                       model, layout, communicator,
                       {.gathered_slots = 1, .gradient_slots = 1, .has_gradients = false}));
  if (directory.empty()) {
    parameters->Initialize(kSeed);
    return parameters;
  }
  RETURN_IF_ERROR(train::LoadHuggingFace(directory, kSeed, *parameters));
  RETURN_IF_ERROR(train::CheckFinite(*parameters));
  return parameters;
}

// The argument: the directory.
const comm::RankBodyRegistration kStart("start", [](const comm::RankContext& context) {
  memory::CountTensors();
  const std::unique_ptr<comm::Communicator> communicator = ConnectTo(context);
  const layout::ModelDescription model = Model();
  const layout::FlatLayout layout = *layout::FlatLayout::Create(model, context.world_size);
  const int64_t heap_before = heap_bytes;
  heap_peak = heap_before;
  memory::ResetTensorPeak();
  const int64_t tensors_before = memory::TensorLiveBytes();
  ASSIGN_OR_RETURN(const std::unique_ptr<fsdp::ShardedParameters> parameters,
                   StartFrom(context.argument, model, layout, *communicator));
  RETURN_IF_ERROR(ExpectAtMost("tensors", memory::TensorPeakBytes() - tensors_before,
                               LeastBytes(model, context.world_size)));
  RETURN_IF_ERROR(ExpectAtMost("the heap", heap_peak - heap_before, kHeapBytes));
  return communicator->Barrier();
});

// The same, of the large model and the resident set. Shard, root and block are three tenths of it.
const comm::RankBodyRegistration kLargeStart("large start", [](const comm::RankContext& context) {
  const std::unique_ptr<comm::Communicator> communicator = ConnectTo(context);
  const layout::ModelDescription model = LargeModel();
  const layout::FlatLayout layout = *layout::FlatLayout::Create(model, context.world_size);
  const int64_t before = memory::ResidentBytes();
  ASSIGN_OR_RETURN(const std::unique_ptr<fsdp::ShardedParameters> parameters,
                   StartFrom(context.argument, model, layout, *communicator));
  RETURN_IF_ERROR(
      ExpectAtMost("the rank", memory::PeakResidentBytes() - before, WholeBytes(model) / 2));
  return communicator->Barrier();
});

bool Start(const std::string& directory, const std::string& body = "start") {
  comm::RankProcesses ranks(
      {.body = body,
       .world_size = kWorldSize,
       .memfd_bytes = comm::LocalCommunicator::MemfdBytes(kWorldSize, kRegionElements),
       .argument = directory});
  return ranks.AllSucceed();
}

TEST(StartMemoryTest, DrawnWeightsAreNeverWholeOnARank) { EXPECT_TRUE(Start("")); }

TEST(StartMemoryTest, ReadWeightsAreNeverWholeOnARank) {
  const std::string directory =
      absl::StrCat(*MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-")), "/model");
  WriteDirectory(Model(), directory);
  EXPECT_TRUE(Start(directory));
}

TEST(StartMemoryTest, NoMoreIsResidentEither) {
  const std::string directory =
      absl::StrCat(*MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-")), "/model");
  WriteDirectory(LargeModel(), directory);
  EXPECT_TRUE(Start("", "large start"));
  EXPECT_TRUE(Start(directory, "large start"));
}

// The state of a rank that goes on: as much as a second copy of it would be seen many times over.
TEST(StartMemoryTest, ARankThatResumesHoldsNoSecondCopy) {
  constexpr int64_t kElements = int64_t{1} << 20;
  const std::string root = *MakeTempDir(absl::StrCat(::testing::TempDir(), "/sotto-"));
  checkpoint::Checkpointer::Options options{.directory = root};
  options.manifest.set_optimizer("adamw");
  v1::CheckpointUnit& unit = *options.manifest.add_units();
  unit.set_name("root");
  unit.set_padded_elements(kElements);
  v1::CheckpointTensor& tensor = *unit.add_tensors();
  tensor.set_name("wte.weight");
  tensor.add_shape(kElements);
  std::vector<checkpoint::ShardState> shards;
  for (const char* kind : {"master", "m", "v"}) {
    shards.push_back({"root", kind, at::full({kElements}, 1.0 + shards.size())});
  }
  checkpoint::Checkpointer checkpointer(options);
  checkpointer.StartWriting(/*step=*/1, shards);
  ASSERT_OK(checkpointer.AwaitWritten());
  checkpointer.StartCommit();
  ASSERT_OK(checkpointer.AwaitCommitted().status());
  for (checkpoint::ShardState& shard : shards) shard.values.zero_();

  const int64_t heap_before = heap_bytes;
  heap_peak = heap_before;
  ASSERT_OK(checkpointer.Restore(shards).status());
  // Hashing reads a file in pieces of 1 MiB; one shard is 4.
  EXPECT_LT(heap_peak - heap_before, int64_t{2} << 20);
  for (size_t i = 0; i < shards.size(); ++i) {
    EXPECT_TRUE(shards[i].values.eq(1.0 + i).all().item<bool>()) << shards[i].kind;
  }
}

}  // namespace
}  // namespace sotto::equivalence

int main(int argc, char** argv) { return sotto::comm::RankTestMain(argc, argv); }
