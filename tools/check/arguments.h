// Arguments that several commands take.
#ifndef SOTTO_TOOLS_CHECK_ARGUMENTS_H_
#define SOTTO_TOOLS_CHECK_ARGUMENTS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/layout/strategy.h"
#include "proto/sotto/v1/spec.pb.h"

namespace sotto::check {

// The model of a job spec's file, or of text as a job spec has it: "{gpt2: {width: 64, ...}}".
// INVALID_ARGUMENT: neither.
absl::StatusOr<v1::ModelSpec> ParseModel(const std::string& text);

// The only reader of --strategy: a strategy's name, with _ or -. INVALID_ARGUMENT: none, with those
// there are.
absl::StatusOr<layout::Strategy> ParseStrategy(const std::string& text);
// The same as specs have it.
absl::StatusOr<v1::Strategy> ParseStrategyOfSpec(const std::string& text);

// Beyond these, squares of a clipped gradient's elements leave the range of floats.
inline constexpr double kSmallestClipNorm = 1e-12;
inline constexpr double kLargestClipNorm = 1e12;

// Of specs as well.
inline constexpr double kLargestNoiseMultiplier = 1e6;
inline constexpr double kLargestLearningRate = 1e6;
inline constexpr double kSmallestLearningRate = 1e-12;

// INVALID_ARGUMENT: --clip_norm is not between them.
absl::Status CheckClipNorm(double clip_norm);

// The folder of --out, with those above it. INVALID_ARGUMENT: it cannot be made.
absl::Status MakeOutFolder(const std::string& folder);

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_ARGUMENTS_H_
