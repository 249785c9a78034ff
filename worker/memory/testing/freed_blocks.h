#ifndef SOTTO_WORKER_MEMORY_TESTING_FREED_BLOCKS_H_
#define SOTTO_WORKER_MEMORY_TESTING_FREED_BLOCKS_H_

#include <cstdint>
#include <vector>

#include "ATen/core/Tensor.h"

namespace sotto::memory {

// Memory that tensors had and that the allocator keeps: 4 MiB in blocks too small to be mappings of
// their own, below one that stays in use, so that freeing them returns nothing to the system.
class FreedBlocks {
 public:
  FreedBlocks();

  // Blocks of which a page still holds what was written there; a page that was given back reads as
  // zero. An allocation since then may stand in a block and keep it.
  int Kept() const;
  int Count() const { return static_cast<int>(blocks_.size()); }

 private:
  std::vector<uintptr_t> blocks_;  // addresses
  at::Tensor above_;
};

}  // namespace sotto::memory

#endif  // SOTTO_WORKER_MEMORY_TESTING_FREED_BLOCKS_H_
