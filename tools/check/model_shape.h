// The model that a check runs.
#ifndef SOTTO_TOOLS_CHECK_MODEL_SHAPE_H_
#define SOTTO_TOOLS_CHECK_MODEL_SHAPE_H_

namespace sotto::check {

// GPT-2 style.
struct ModelShape {
  int vocabulary_size = 257;
  int width = 64;
  int layers = 2;
  int heads = 4;
  int tokens = 64;  // of every record
  bool untied_head = false;
};

}  // namespace sotto::check

#endif  // SOTTO_TOOLS_CHECK_MODEL_SHAPE_H_
