// Who may make a ClippedSum. Its Bazel target is visible to worker/train and tests only.
#ifndef SOTTO_WORKER_DP_CLIPPED_SUM_PASSKEY_H_
#define SOTTO_WORKER_DP_CLIPPED_SUM_PASSKEY_H_

namespace sotto::dp {

class ClippedSum;

// `ClippedSumPasskey::Vouch()` reads as what it is: the caller answers for the sum's sensitivity.
class ClippedSumPasskey {
 public:
  static ClippedSumPasskey Vouch() { return ClippedSumPasskey(); }

 private:
  ClippedSumPasskey() = default;
};

}  // namespace sotto::dp

#endif  // SOTTO_WORKER_DP_CLIPPED_SUM_PASSKEY_H_
