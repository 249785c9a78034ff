#include "common/base/huge_pages.h"

#include <cstdlib>
#include <cstring>

#include "gtest/gtest.h"

namespace sotto {
namespace {

TEST(HugePagesTest, MemoryOfAnySizeAndAlignmentStaysUsable) {
  for (size_t bytes : {size_t{0}, size_t{4096}, size_t{3} << 20, (size_t{9} << 20) + 5}) {
    char* data = static_cast<char*>(malloc(bytes + 1));
    PreferHugePages(data + 1, static_cast<int64_t>(bytes));
    memset(data, 7, bytes + 1);
    EXPECT_EQ(data[0], 7);
    EXPECT_EQ(data[bytes], 7);
    free(data);
  }
}

}  // namespace
}  // namespace sotto
