// What a rank has to tell the coordinator, kept until the coordinator has stored it.
#ifndef SOTTO_WORKER_CONTROL_OUTBOX_H_
#define SOTTO_WORKER_CONTROL_OUTBOX_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "proto/sotto/v1/worker_service.pb.h"

namespace sotto::control {

// Messages leave in the order of Add. A stream keeps that order, so an acknowledged report vouches
// for everything before it: Acknowledge drops both. After Rewind (a new stream) everything that is
// left leaves again. Externally synchronised.
class Outbox {
 public:
  void Add(v1::WorkerMessage message);

  // Rank 0's latest request for steps; it goes out once a stream, until Granted covers it.
  void Request(v1::GrantRequest request);
  void Granted(int64_t end_step);

  // The last message of all; it goes out once a stream, after everything else.
  void Finish(v1::Finished finished);

  // The coordinator has stored the reports of steps up to `step`.
  void Acknowledge(int64_t step);

  void Rewind();

  // The next message for this stream; nullopt: nothing to send now.
  std::optional<v1::WorkerMessage> Take();
  bool HasNext() const;
  bool finish_was_sent() const { return finish_was_sent_; }

 private:
  std::deque<v1::WorkerMessage> messages_;
  size_t sent_ = 0;  // of messages_, on this stream
  std::optional<v1::GrantRequest> request_;
  bool request_was_sent_ = false;
  std::optional<v1::Finished> finished_;
  bool finish_was_sent_ = false;
};

}  // namespace sotto::control

#endif  // SOTTO_WORKER_CONTROL_OUTBOX_H_
