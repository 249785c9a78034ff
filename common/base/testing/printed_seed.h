// The seed of a random test.
#ifndef SOTTO_COMMON_BASE_TESTING_PRINTED_SEED_H_
#define SOTTO_COMMON_BASE_TESTING_PRINTED_SEED_H_

#include <cstdint>

namespace sotto {

// A new one each time, or what SOTTO_TEST_SEED says. Prints "SOTTO_TEST_SEED=N", which repeats a
// run that failed.
uint64_t PrintedSeed();

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_TESTING_PRINTED_SEED_H_
