#include "worker/comm/local_communicator.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace sotto::comm {
namespace {

constexpr int64_t kMaxReducedValues = 1024;
constexpr int64_t kAlignmentElements = 32;  // 128 bytes of fp32

absl::Status CheckOptions(const LocalCommunicator::Options& options) {
  if (options.world_size < 1 || options.world_size > LocalCommunicator::kMaxWorldSize) {
    return absl::InvalidArgumentError(absl::StrCat("world_size must be in [1, ",
                                                   LocalCommunicator::kMaxWorldSize, "], but is ",
                                                   options.world_size));
  }
  if (options.rank < 0 || options.rank >= options.world_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank must be in [0, ", options.world_size, "), but is ", options.rank));
  }
  const int64_t step = kAlignmentElements * options.world_size;
  if (options.region_elements < 1 || options.region_elements % step != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("region_elements must be a positive multiple of ", step, ", but is ",
                     options.region_elements));
  }
  struct stat info;
  if (fstat(options.memfd, &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("memfd ", options.memfd));
  }
  const int64_t needed = LocalCommunicator::MemfdBytes(options.world_size, options.region_elements);
  if (info.st_size < needed) {
    return absl::InvalidArgumentError(
        absl::StrCat("the memfd must have ", needed, " bytes, but has ", info.st_size));
  }
  return absl::OkStatus();
}

}  // namespace

int64_t LocalCommunicator::MemfdBytes(int world_size, int64_t region_elements) {
  return LocalGroup::kHeaderBytes +
         2 * world_size * region_elements * static_cast<int64_t>(sizeof(float));
}

int64_t LocalCommunicator::RegionElements(int world_size, int64_t memfd_bytes) {
  const int64_t step = kAlignmentElements * world_size;
  const int64_t bytes = (memfd_bytes - LocalGroup::kHeaderBytes) / (2 * world_size);
  return std::max<int64_t>(0, bytes / static_cast<int64_t>(sizeof(float)) / step * step);
}

absl::StatusOr<std::unique_ptr<LocalCommunicator>> LocalCommunicator::Create(
    const Options& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  const size_t bytes = MemfdBytes(options.world_size, options.region_elements);
  void* mapping = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, options.memfd, 0);
  if (mapping == MAP_FAILED) return absl::ErrnoToStatus(errno, "mapping the communicator's memfd");
  std::unique_ptr<LocalCommunicator> communicator(new LocalCommunicator(options, mapping, bytes));
  ASSIGN_OR_RETURN(
      communicator->group_,
      LocalGroup::Attach(mapping, options.rank, options.world_size, options.attach_timeout));
  return communicator;
}

LocalCommunicator::LocalCommunicator(const Options& options, void* mapping, size_t mapping_bytes)
    : rank_(options.rank),
      world_size_(options.world_size),
      region_elements_(options.region_elements),
      mapping_(mapping),
      mapping_bytes_(mapping_bytes) {}

LocalCommunicator::~LocalCommunicator() {
  group_ = nullptr;  // Its watchdog looks at the mapping.
  munmap(mapping_, mapping_bytes_);
}

absl::Status LocalCommunicator::Barrier() { return group_->Barrier(); }

void LocalCommunicator::Abort() { group_->Abort(); }

float* LocalCommunicator::Region(int rank) const {
  char* regions = static_cast<char*>(mapping_) + LocalGroup::kHeaderBytes;
  return reinterpret_cast<float*>(regions) + (2 * rank + region_) * region_elements_;
}

absl::Status LocalCommunicator::CheckGroup(const RankGroup& group, const char* call) const {
  const bool fits = group.size >= 1 && group.stride >= 1 && group.first >= 0 &&
                    group.rank(group.size - 1) < world_size_ && group.Contains(rank_);
  if (fits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(call, ": the group of ", group.size,
                                                 " ranks from ", group.first, " by ", group.stride,
                                                 " does not hold rank ", rank_));
}

absl::Status LocalCommunicator::AllGather(const RankGroup& group, absl::Span<const float> shard,
                                          absl::Span<float> whole) {
  RETURN_IF_ERROR(CheckGroup(group, "AllGather"));
  const int64_t elements = static_cast<int64_t>(shard.size());
  if (static_cast<int64_t>(whole.size()) != group.size * elements) {
    return absl::InvalidArgumentError(absl::StrCat("AllGather: ", group.size, " shards of ",
                                                   elements, " do not make ", whole.size()));
  }
  for (int64_t begin = 0; begin < elements; begin += region_elements_) {
    const int64_t size = std::min(region_elements_, elements - begin);
    std::memcpy(Region(rank_), shard.data() + begin, size * sizeof(float));
    RETURN_IF_ERROR(Barrier());
    for (int peer = 0; peer < group.size; ++peer) {
      // The own shard need not come back through the region; it may lie at its place already.
      const float* from =
          group.rank(peer) == rank_ ? shard.data() + begin : Region(group.rank(peer));
      float* to = whole.data() + peer * elements + begin;
      if (from != to) std::memcpy(to, from, size * sizeof(float));
    }
    NextPiece();
  }
  return absl::OkStatus();
}

absl::Status LocalCommunicator::ReduceScatterAdd(const RankGroup& group,
                                                 absl::Span<const float> whole,
                                                 absl::Span<float> accumulator) {
  RETURN_IF_ERROR(CheckGroup(group, "ReduceScatterAdd"));
  const int64_t elements = static_cast<int64_t>(accumulator.size());
  if (static_cast<int64_t>(whole.size()) != group.size * elements) {
    return absl::InvalidArgumentError(absl::StrCat("ReduceScatterAdd: ", group.size, " slices of ",
                                                   elements, " do not make ", whole.size()));
  }
  const int own = group.IndexOf(rank_);
  const int64_t piece = region_elements_ / group.size;  // of every rank's slice
  for (int64_t begin = 0; begin < elements; begin += piece) {
    const int64_t size = std::min(piece, elements - begin);
    for (int owner = 0; owner < group.size; ++owner) {
      if (owner == own) continue;  // Nobody else reads it.
      std::memcpy(Region(rank_) + owner * piece, whole.data() + owner * elements + begin,
                  size * sizeof(float));
    }
    RETURN_IF_ERROR(Barrier());
    float* sums = accumulator.data() + begin;
    for (int peer = 0; peer < group.size; ++peer) {
      const float* slice = peer == own ? whole.data() + own * elements + begin
                                       : Region(group.rank(peer)) + own * piece;
      for (int64_t i = 0; i < size; ++i) sums[i] += slice[i];
    }
    NextPiece();
  }
  return absl::OkStatus();
}

absl::Status LocalCommunicator::AllReduceSum(const RankGroup& group, absl::Span<float> values) {
  RETURN_IF_ERROR(CheckGroup(group, "AllReduceSum"));
  for (size_t begin = 0; begin < values.size(); begin += region_elements_) {
    RETURN_IF_ERROR(SumPiece(group, values.subspan(begin, region_elements_)));
  }
  return absl::OkStatus();
}

// Every rank sums one slice of the piece and then reads the others' sums.
absl::Status LocalCommunicator::SumPiece(const RankGroup& group, absl::Span<float> values) {
  const int64_t elements = static_cast<int64_t>(values.size());
  const int64_t slice = (elements + group.size - 1) / group.size;
  const auto slice_of = [&](int index) {
    const int64_t begin = std::min(index * slice, elements);
    return values.subspan(begin, std::min(slice, elements - begin));
  };
  const int own_index = group.IndexOf(rank_);
  const absl::Span<float> own = slice_of(own_index);
  const int64_t own_begin = std::min(own_index * slice, elements);
  std::memcpy(Region(rank_), values.data(), elements * sizeof(float));
  RETURN_IF_ERROR(Barrier());
  std::memcpy(own.data(), Region(group.first) + own_begin, own.size() * sizeof(float));
  for (int peer = 1; peer < group.size; ++peer) {
    const float* addend = Region(group.rank(peer)) + own_begin;
    for (size_t i = 0; i < own.size(); ++i) own[i] += addend[i];
  }
  NextPiece();
  std::memcpy(Region(rank_), own.data(), own.size() * sizeof(float));
  RETURN_IF_ERROR(Barrier());
  for (int peer = 0; peer < group.size; ++peer) {
    const absl::Span<float> sums = slice_of(peer);
    std::memcpy(sums.data(), Region(group.rank(peer)), sums.size() * sizeof(float));
  }
  NextPiece();
  return absl::OkStatus();
}

absl::Status LocalCommunicator::AllReduceSum(const RankGroup& group, absl::Span<double> values) {
  RETURN_IF_ERROR(CheckGroup(group, "AllReduceSum"));
  const int64_t capacity =
      region_elements_ * static_cast<int64_t>(sizeof(float)) / static_cast<int64_t>(sizeof(double));
  if (static_cast<int64_t>(values.size()) > kMaxReducedValues) {
    return absl::InvalidArgumentError(absl::StrCat("AllReduceSum: at most ", kMaxReducedValues,
                                                   " values, but there are ", values.size()));
  }
  for (int64_t begin = 0; begin < static_cast<int64_t>(values.size()); begin += capacity) {
    const int64_t size = std::min(capacity, static_cast<int64_t>(values.size()) - begin);
    std::memcpy(Region(rank_), values.data() + begin, size * sizeof(double));
    RETURN_IF_ERROR(Barrier());
    for (int64_t i = 0; i < size; ++i) {
      double sum = 0;
      for (int peer = 0; peer < group.size; ++peer) {
        double value;
        std::memcpy(&value,
                    reinterpret_cast<const char*>(Region(group.rank(peer))) + i * sizeof(double),
                    sizeof(double));
        sum += value;
      }
      values[begin + i] = sum;
    }
    NextPiece();
  }
  return absl::OkStatus();
}

}  // namespace sotto::comm
