#include "worker/smoothed_mean.h"

namespace sotto {

double SmoothedMean::Add(double value) {
  weighted_sum_ = (1 - weight_) * weighted_sum_ + weight_ * value;
  sum_of_weights_ = (1 - weight_) * sum_of_weights_ + weight_;
  return weighted_sum_ / sum_of_weights_;
}

}  // namespace sotto
