// Who is told of new events.
#ifndef SOTTO_SERVER_STORE_EVENT_LISTENERS_H_
#define SOTTO_SERVER_STORE_EVENT_LISTENERS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "common/base/mutex.h"
#include "server/store/job_reader.h"

namespace sotto::store {

// Thread-safe. Handles may outlive this object.
class EventListeners {
 public:
  // See JobReader::Listen.
  std::shared_ptr<void> Add(JobReader::EventListener listener);

  // Tells all listeners. Not from within a listener.
  void Notify(const std::string& job, int64_t tail_sequence);

 private:
  // Shared with the handles. A listener is called with the mutex held, so that a handle's
  // destructor waits for it.
  struct State {
    Mutex mutex;
    int64_t next_key ABSL_GUARDED_BY(mutex) = 0;
    std::map<int64_t, JobReader::EventListener> listeners ABSL_GUARDED_BY(mutex);
  };

  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace sotto::store

#endif  // SOTTO_SERVER_STORE_EVENT_LISTENERS_H_
