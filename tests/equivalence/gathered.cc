#include "tests/equivalence/gathered.h"

#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "common/layout/execution_schedule.h"

namespace sotto::equivalence {

absl::StatusOr<std::string> GatherParameters(fsdp::ShardedParameters& parameters) {
  std::string bytes;
  for (int unit = 0; unit < parameters.layout().num_units(); ++unit) {
    const int slot = unit == 0 ? layout::kRootSlot : 1;
    RETURN_IF_ERROR(parameters.Gather(unit, slot));
    for (const layout::ParameterLayout& place : parameters.layout().unit(unit).parameters) {
      const at::Tensor view =
          parameters.WholeUnit(unit, slot).narrow(0, place.offset, place.elements);
      bytes.append(static_cast<const char*>(view.data_ptr()), view.nbytes());
    }
  }
  return bytes;
}

absl::StatusOr<std::string> GatherState(fsdp::ShardedParameters& parameters,
                                        const std::vector<optim::StateTensor>& state) {
  std::string bytes;
  for (const optim::StateTensor& tensor : state) {
    const auto elements = static_cast<size_t>(tensor.values.numel());
    if (elements == 0) continue;  // of a frozen unit
    std::vector<float> whole(elements * parameters.grid().shards);
    RETURN_IF_ERROR(parameters.communicator().AllGather(
        parameters.shard_group(), {tensor.values.const_data_ptr<float>(), elements},
        absl::MakeSpan(whole)));
    bytes.append(reinterpret_cast<const char*>(whole.data()), whole.size() * sizeof(float));
  }
  return bytes;
}

int64_t StateBytes(const std::vector<optim::StateTensor>& state) {
  int64_t bytes = 0;
  for (const optim::StateTensor& tensor : state) {
    bytes += static_cast<int64_t>(tensor.values.nbytes());
  }
  return bytes;
}

}  // namespace sotto::equivalence
