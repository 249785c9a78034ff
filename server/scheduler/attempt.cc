#include "server/scheduler/attempt.h"

#include <algorithm>

namespace sotto::scheduler {

bool Attempt::AnyAlive() const {
  return std::any_of(ranks.begin(), ranks.end(), [](const RankState& rank) { return rank.alive; });
}

bool Attempt::AllAttached() const {
  return std::all_of(ranks.begin(), ranks.end(),
                     [](const RankState& rank) { return rank.stream != 0; });
}

bool Attempt::AllEnded(std::initializer_list<launcher::ExitRecord::Outcome> outcomes) const {
  return std::all_of(ranks.begin(), ranks.end(), [&](const RankState& rank) {
    return rank.record.has_value() &&
           std::find(outcomes.begin(), outcomes.end(), rank.record->outcome) != outcomes.end();
  });
}

int64_t Attempt::StartedSteps() const {
  int64_t started = 0;
  for (const RankState& rank : ranks) {
    started = std::max(started, rank.started_steps);
    if (rank.record.has_value()) started = std::max(started, rank.record->started_steps);
  }
  return started;
}

int Attempt::Outstanding() const {
  return static_cast<int>(std::count_if(grants.begin(), grants.end(), [&](const Granted& grant) {
    return grant.end_step > ranks[0].started_steps;
  }));
}

}  // namespace sotto::scheduler
