// An exponential mean of a noisy series.
#ifndef SOTTO_WORKER_SMOOTHED_MEAN_H_
#define SOTTO_WORKER_SMOOTHED_MEAN_H_

namespace sotto {

// Weighs the newest value by `weight`, each older one by (1 - weight) times the next newer one's,
// and divides by the sum of the weights, so that the first values are not drawn towards 0. Of
// values with independent errors of standard deviation s, the mean's tends to s sqrt(weight / (2 -
// weight)). Not thread-safe.
class SmoothedMean {
 public:
  // 0.1: the noise shrinks to s / 4.4, and a change shows within some 10 steps.
  explicit SmoothedMean(double weight = 0.1) : weight_(weight) {}

  // Gives the mean with this value in it.
  double Add(double value);

 private:
  const double weight_;
  double weighted_sum_ = 0;
  double sum_of_weights_ = 0;
};

}  // namespace sotto

#endif  // SOTTO_WORKER_SMOOTHED_MEAN_H_
