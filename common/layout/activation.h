#ifndef SOTTO_COMMON_LAYOUT_ACTIVATION_H_
#define SOTTO_COMMON_LAYOUT_ACTIVATION_H_

namespace sotto::layout {

// The function between an MLP's linear maps.
enum class Activation {
  kGeluTanh,  // GPT-2's: Hugging Face's gelu_new, gelu_pytorch_tanh
  kGelu,      // with the error function
  kRelu,
  kSilu,
};

}  // namespace sotto::layout

#endif  // SOTTO_COMMON_LAYOUT_ACTIVATION_H_
