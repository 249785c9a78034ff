#include "worker/control/outbox.h"

#include <utility>

namespace sotto::control {

void Outbox::Add(v1::WorkerMessage message) { messages_.push_back(std::move(message)); }

void Outbox::Request(v1::GrantRequest request) {
  request_ = std::move(request);
  request_was_sent_ = false;
}

void Outbox::Granted(int64_t end_step) {
  if (request_.has_value() && request_->first_step() < end_step) request_.reset();
}

void Outbox::Finish(v1::Finished finished) {
  finished_ = std::move(finished);
  finish_was_sent_ = false;
}

void Outbox::Acknowledge(int64_t step) {
  size_t stored = 0;
  for (size_t i = 0; i < messages_.size(); ++i) {
    if (messages_[i].has_report() && messages_[i].report().step() <= step) stored = i + 1;
  }
  messages_.erase(messages_.begin(), messages_.begin() + stored);
  sent_ = sent_ > stored ? sent_ - stored : 0;
}

void Outbox::Rewind() {
  sent_ = 0;
  request_was_sent_ = false;
  finish_was_sent_ = false;
}

bool Outbox::HasNext() const {
  return sent_ < messages_.size() || (request_.has_value() && !request_was_sent_) ||
         (finished_.has_value() && !finish_was_sent_);
}

std::optional<v1::WorkerMessage> Outbox::Take() {
  v1::WorkerMessage message;
  if (sent_ < messages_.size()) return messages_[sent_++];
  if (request_.has_value() && !request_was_sent_) {
    request_was_sent_ = true;
    *message.mutable_grant_request() = *request_;
    return message;
  }
  if (finished_.has_value() && !finish_was_sent_) {
    finish_was_sent_ = true;
    *message.mutable_finished() = *finished_;
    return message;
  }
  return std::nullopt;
}

}  // namespace sotto::control
