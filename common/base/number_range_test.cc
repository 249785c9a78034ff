#include "common/base/number_range.h"

#include "gtest/gtest.h"

namespace sotto {
namespace {

TEST(NumberRangeTest, TakesNumbersUpToItsEnds) {
  const NumberRange range{0.5, 1e6};
  for (const char* text : {"0.5", "1", "1e6", "1000000", " 7 "}) EXPECT_EQ(range(text), "") << text;
}

TEST(NumberRangeTest, RefusesByRuleAndText) {
  const NumberRange range{0, 1e6};
  for (const char* text : {"-1e-9", "1000001", "nan", "-nan", "inf", "1e999", "ten", "", "3s"}) {
    EXPECT_EQ(range(text), std::string("must be in [0, 1e+06], but is ") + text);
  }
}

}  // namespace
}  // namespace sotto
