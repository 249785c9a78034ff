// Ctrl-C as an event.
#ifndef SOTTO_CLIENT_INTERRUPT_HANDLER_H_
#define SOTTO_CLIENT_INTERRUPT_HANDLER_H_

#include <functional>
#include <thread>

#include "common/base/fd.h"

namespace sotto::client {

// While it lives, SIGINT and SIGTERM call `on_interrupt` on a thread of its own: once, whichever
// thread the signal came to. A second one ends the process with exit code 130. One at a time.
class InterruptHandler {
 public:
  explicit InterruptHandler(std::function<void()> on_interrupt);
  ~InterruptHandler();
  InterruptHandler(const InterruptHandler&) = delete;
  InterruptHandler& operator=(const InterruptHandler&) = delete;

 private:
  void Loop();

  const std::function<void()> on_interrupt_;
  UniqueFd signals_;
  UniqueFd stop_;
  std::thread thread_;
};

}  // namespace sotto::client

#endif  // SOTTO_CLIENT_INTERRUPT_HANDLER_H_
