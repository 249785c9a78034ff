#include "server/store/event_listeners.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::store {
namespace {

using ::testing::ElementsAre;

TEST(EventListenersTest, EachListenerIsToldUntilItsHandleGoes) {
  EventListeners listeners;
  std::vector<int64_t> first, second;
  auto first_handle = listeners.Add([&](const std::string&, int64_t n) { first.push_back(n); });
  const auto second_handle =
      listeners.Add([&](const std::string&, int64_t n) { second.push_back(n); });
  listeners.Notify("job-1", 1);
  first_handle = nullptr;
  listeners.Notify("job-1", 2);
  EXPECT_THAT(first, ElementsAre(1));
  EXPECT_THAT(second, ElementsAre(1, 2));
}

TEST(EventListenersTest, HandleMayOutliveTheListeners) {
  auto listeners = std::make_unique<EventListeners>();
  auto handle = listeners->Add([](const std::string&, int64_t) {});
  listeners = nullptr;
  handle = nullptr;
}

}  // namespace
}  // namespace sotto::store
