// The same normals, written for reading: one block, one position at a time, libm.
#ifndef SOTTO_KERNELS_REFERENCE_CHACHA_NORMALS_H_
#define SOTTO_KERNELS_REFERENCE_CHACHA_NORMALS_H_

#include <array>
#include <cstdint>

#include "kernels/chacha_normals.h"

namespace sotto::kernels::reference {

std::array<uint32_t, 16> ChaChaBlock(const ChaChaKey& key, uint64_t stream, uint64_t counter);

double Normal(const ChaChaKey& key, int64_t position);

}  // namespace sotto::kernels::reference

#endif  // SOTTO_KERNELS_REFERENCE_CHACHA_NORMALS_H_
