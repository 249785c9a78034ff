#include "worker/memory/testing/freed_blocks.h"

#include <unistd.h>

#include <algorithm>

#include "ATen/ops/full.h"
#include "common/base/fd.h"
#include "common/base/log.h"

namespace sotto::memory {
namespace {

constexpr int64_t kBlocks = 64;
constexpr int64_t kBlockBytes = int64_t{64} << 10;
// At both ends of a block, where the allocator writes its own notes.
constexpr uintptr_t kNotesBytes = 64;

uintptr_t AddressOf(const at::Tensor& tensor) {
  return reinterpret_cast<uintptr_t>(tensor.data_ptr());
}

// The byte at an address of memory that may be nobody's: the kernel reads it. 0 where nothing is
// mapped any more.
char ByteAt(uintptr_t address, int read_fd, int write_fd) {
  char byte = 0;
  if (write(write_fd, reinterpret_cast<const void*>(address), 1) != 1) return 0;
  SOTTO_CHECK(read(read_fd, &byte, 1) == 1);
  return byte;
}

}  // namespace

FreedBlocks::FreedBlocks() {
  blocks_.reserve(kBlocks);
  std::vector<at::Tensor> tensors;
  tensors.reserve(kBlocks);
  for (int64_t i = 0; i < kBlocks; ++i) {
    tensors.push_back(at::full({kBlockBytes / 4}, 1.5));
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const at::Tensor& a, const at::Tensor& b) { return AddressOf(a) < AddressOf(b); });
  above_ = tensors.back();
  tensors.pop_back();
  for (const at::Tensor& tensor : tensors) blocks_.push_back(AddressOf(tensor));
}

int FreedBlocks::Kept() const {
  int fds[2];
  SOTTO_CHECK(pipe(fds) == 0);
  const UniqueFd read_fd(fds[0]);
  const UniqueFd write_fd(fds[1]);
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto is_kept = [&](uintptr_t block) {
    const uintptr_t first = (block + kNotesBytes + page - 1) / page * page;
    const uintptr_t end = block + kBlockBytes - kNotesBytes;
    for (uintptr_t address = first; address + page <= end; address += page) {
      // 1.5 as a float is 0x3fc00000: its last byte is not zero.
      if (ByteAt(address + 3, read_fd.get(), write_fd.get()) != 0) return true;
    }
    return false;
  };
  return static_cast<int>(std::count_if(blocks_.begin(), blocks_.end(), is_kept));
}

}  // namespace sotto::memory
