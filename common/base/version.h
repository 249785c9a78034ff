#ifndef SOTTO_COMMON_BASE_VERSION_H_
#define SOTTO_COMMON_BASE_VERSION_H_

namespace sotto {

// Of all binaries: they are built and installed together.
inline constexpr char kVersion[] = "0.1.0";

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_VERSION_H_
