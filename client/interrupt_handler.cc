#include "client/interrupt_handler.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>

namespace sotto::client {
namespace {

// Where the signal handler reports; -1: nobody listens.
std::atomic<int> listener = -1;

// Async-signal-safe: one write to an eventfd.
void Report(int signal) {
  const int saved_errno = errno;
  const eventfd_t one = 1;
  if (const int fd = listener; fd >= 0 && write(fd, &one, sizeof(one)) < 0) {
    // Full: it was reported before.
  }
  errno = saved_errno;
}

void HandleWith(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

InterruptHandler::InterruptHandler(std::function<void()> on_interrupt)
    : on_interrupt_(std::move(on_interrupt)),
      signals_(eventfd(0, EFD_CLOEXEC)),
      stop_(eventfd(0, EFD_CLOEXEC)) {
  listener = signals_.get();
  HandleWith(Report);
  thread_ = std::thread([this] { Loop(); });
}

InterruptHandler::~InterruptHandler() {
  HandleWith(SIG_DFL);
  listener = -1;
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

void InterruptHandler::Loop() {
  bool was_called = false;
  while (true) {
    pollfd polled[] = {{signals_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (poll(polled, 2, -1) < 0) continue;
    if (polled[1].revents != 0) return;
    eventfd_t count = 0;
    if (eventfd_read(signals_.get(), &count) != 0) continue;
    if (was_called || count > 1) _exit(130);
    was_called = true;
    on_interrupt_();
  }
}

}  // namespace sotto::client
