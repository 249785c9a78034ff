// AdamW as the paper writes it, in fp64.
#ifndef SOTTO_KERNELS_REFERENCE_ADAMW_H_
#define SOTTO_KERNELS_REFERENCE_ADAMW_H_

#include "kernels/adamw.h"

namespace sotto::kernels::reference {

struct AdamWElement {
  double weight = 0;
  double m = 0;
  double v = 0;
};

void UpdateAdamW(const AdamWStep& step, double gradient_sum, AdamWElement& element);

}  // namespace sotto::kernels::reference

#endif  // SOTTO_KERNELS_REFERENCE_ADAMW_H_
