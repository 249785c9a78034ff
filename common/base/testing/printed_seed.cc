#include "common/base/testing/printed_seed.h"

#include <cstdlib>
#include <iostream>
#include <random>

namespace sotto {

uint64_t PrintedSeed() {
  const char* given = std::getenv("SOTTO_TEST_SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::cout << "SOTTO_TEST_SEED=" << seed << std::endl;
  return seed;
}

}  // namespace sotto
