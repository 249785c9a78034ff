// Questions about epsilon and sigma that need no coordinator: `sotto epsilon`, `sotto sigma`.
//
// They take delta as the accountant's; a job with a batch cap is planned at 0.99 of its delta and
// comes out slightly higher.
#ifndef SOTTO_SERVER_ACCOUNTING_OFFLINE_H_
#define SOTTO_SERVER_ACCOUNTING_OFFLINE_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace sotto::accounting {

struct EpsilonQuestion {
  double noise_multiplier = 0;
  double sampling_rate = 0;
  int64_t steps = 0;
  double delta = 0;
};

struct EpsilonAnswer {
  double epsilon = 0;
  double order = 0;  // Renyi order of the bound; 0: exact, of a Gaussian mechanism without sampling
};

// `sotto epsilon`. INVALID_ARGUMENT: one message that names every value out of range.
absl::StatusOr<EpsilonAnswer> AnswerEpsilon(const EpsilonQuestion& question);

struct SigmaQuestion {
  double epsilon = 0;
  double sampling_rate = 0;
  int64_t steps = 0;
  double delta = 0;
};

struct SigmaAnswer {
  double noise_multiplier = 0;
  double epsilon = 0;  // reached, at most the asked one
  double order = 0;
};

// `sotto sigma`. INVALID_ARGUMENT as above; OUT_OF_RANGE: no noise multiplier gives this epsilon.
absl::StatusOr<SigmaAnswer> AnswerSigma(const SigmaQuestion& question);

}  // namespace sotto::accounting

#endif  // SOTTO_SERVER_ACCOUNTING_OFFLINE_H_
