// Numbers as a command line has them, held to limits.
#ifndef SOTTO_COMMON_BASE_NUMBER_RANGE_H_
#define SOTTO_COMMON_BASE_NUMBER_RANGE_H_

#include <string>

namespace sotto {

// [least, most]. A check of a text, as CLI11's options take it: option->check(NumberRange{1, 16}).
struct NumberRange {
  double least;
  double most;

  // "in [1, 16]"
  std::string Text() const;

  // What is wrong with `text`, with the rule and the text itself; nothing where it is a number of
  // the range. NaN is none, and neither is a number with something behind it.
  std::string operator()(const std::string& text) const;
};

}  // namespace sotto

#endif  // SOTTO_COMMON_BASE_NUMBER_RANGE_H_
