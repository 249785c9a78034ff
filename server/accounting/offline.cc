#include "server/accounting/offline.h"

#include "common/base/status_macros.h"
#include "server/accounting/calibration.h"
#include "server/accounting/epsilon_curve.h"

namespace sotto::accounting {

absl::StatusOr<EpsilonAnswer> AnswerEpsilon(const EpsilonQuestion& question) {
  ASSIGN_OR_RETURN(const EpsilonCurve curve,
                   EpsilonCurve::Create({question.sampling_rate, question.noise_multiplier},
                                        question.steps, question.delta));
  const EpsilonBound bound = curve.At(question.steps);
  return EpsilonAnswer{bound.epsilon, bound.order};
}

absl::StatusOr<SigmaAnswer> AnswerSigma(const SigmaQuestion& question) {
  ASSIGN_OR_RETURN(const double noise_multiplier,
                   CalibrateNoiseMultiplier(
                       {question.epsilon, question.delta, question.sampling_rate}, question.steps));
  ASSIGN_OR_RETURN(
      const EpsilonAnswer reached,
      AnswerEpsilon({noise_multiplier, question.sampling_rate, question.steps, question.delta}));
  return SigmaAnswer{noise_multiplier, reached.epsilon, reached.order};
}

}  // namespace sotto::accounting
