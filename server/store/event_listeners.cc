#include "server/store/event_listeners.h"

namespace sotto::store {

std::shared_ptr<void> EventListeners::Add(JobReader::EventListener listener) {
  int64_t key;
  {
    MutexLock lock(&state_->mutex);
    key = state_->next_key++;
    state_->listeners.emplace(key, std::move(listener));
  }
  return std::shared_ptr<void>(nullptr, [state = state_, key](void*) {
    JobReader::EventListener removed;  // Destroyed after the mutex is given up.
    MutexLock lock(&state->mutex);
    const auto found = state->listeners.find(key);
    removed = std::move(found->second);
    state->listeners.erase(found);
  });
}

void EventListeners::Notify(const std::string& job, int64_t tail_sequence) {
  MutexLock lock(&state_->mutex);
  for (const auto& [key, listener] : state_->listeners) listener(job, tail_sequence);
}

}  // namespace sotto::store
