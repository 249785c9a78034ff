#include "worker/infer/token_choice.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace sotto::infer {
namespace {

// Steele, Lea, Flood 2014: SplitMix64's finaliser, a bijection that mixes all bits.
uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// Probabilities of tokens in falling order, over their sum; shortened to the prefix that first
// reaches `top_p`.
void CutTail(std::vector<double>& weights, double top_p) {
  const double whole = std::accumulate(weights.begin(), weights.end(), 0.0);
  double sum = 0;
  size_t kept = 0;
  while (kept < weights.size() && (kept == 0 || sum < top_p * whole)) sum += weights[kept++];
  weights.resize(kept);
}

}  // namespace

double DrawOf(uint64_t seed, int64_t text, int64_t position) {
  const uint64_t bits =
      Mix(Mix(Mix(seed) ^ static_cast<uint64_t>(text)) ^ static_cast<uint64_t>(position));
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

int64_t ChooseToken(absl::Span<const float> logits, const ChoiceOptions& options, double draw) {
  if (options.temperature == 0) {
    return std::max_element(logits.begin(), logits.end()) - logits.begin();
  }
  std::vector<int64_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto precedes = [&](int64_t a, int64_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  const bool cuts = options.top_k > 0 && options.top_k < static_cast<int64_t>(order.size());
  const auto end = cuts ? order.begin() + options.top_k : order.end();
  std::partial_sort(order.begin(), end, order.end(), precedes);
  order.erase(end, order.end());

  std::vector<double> weights;
  for (const int64_t token : order) {
    weights.push_back(
        std::exp((static_cast<double>(logits[token]) - logits[order[0]]) / options.temperature));
  }
  CutTail(weights, options.top_p);
  double left = draw * std::accumulate(weights.begin(), weights.end(), 0.0);
  for (size_t i = 0; i < weights.size(); ++i) {
    left -= weights[i];
    if (left < 0) return order[i];
  }
  return order[weights.size() - 1];  // Rounding left a rest.
}

}  // namespace sotto::infer
