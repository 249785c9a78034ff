// For tests whose ranks are processes of their own executable.
#include "gtest/gtest.h"
#include "tools/check/rank_gang.h"
#include "tools/check/training_rank.h"

int main(int argc, char** argv) {
  if (const auto code = sotto::check::RunIfRank(argc, argv, sotto::check::TrainAsRank)) {
    return *code;
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
