#include "common/layout/gpt2_description.h"

#include <cmath>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/layout/description_parts.h"

namespace sotto::layout {
namespace {

constexpr char kFamily[] = "gpt2";

absl::Status CheckDimensions(const Gpt2Dimensions& dimensions) {
  for (const absl::Status& status :
       {RequireAtLeast(kFamily, "vocabulary_size", dimensions.vocabulary_size, 2),
        RequireAtLeast(kFamily, "width", dimensions.width, 1),
        RequireAtLeast(kFamily, "layers", dimensions.layers, 1),
        RequireAtLeast(kFamily, "heads", dimensions.heads, 1),
        RequireAtLeast(kFamily, "max_length", dimensions.max_length, 1)}) {
    if (!status.ok()) return status;
  }
  if (dimensions.mlp_width < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("gpt2.mlp_width must not be negative, but is ", dimensions.mlp_width));
  }
  if (dimensions.width % dimensions.heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("gpt2.width must be divisible by heads, but ",
                                                   dimensions.width, " is not by ",
                                                   dimensions.heads));
  }
  if (absl::Status status =
          RequirePositive(kFamily, "layer_norm_epsilon", dimensions.layer_norm_epsilon);
      !status.ok()) {
    return status;
  }
  return RequirePositive(kFamily, "init_stddev", dimensions.init_stddev, /*zero_allowed=*/true);
}

int64_t MlpWidth(const Gpt2Dimensions& dimensions) {
  return dimensions.mlp_width > 0 ? dimensions.mlp_width : 4 * dimensions.width;
}

UnitDescription Root(const Gpt2Dimensions& d) {
  UnitBuilder root("root");
  root.Table("wte", d.tied_head ? LayerKind::kTiedEmbedding : LayerKind::kEmbedding,
             d.vocabulary_size, d.width, d.init_stddev)
      .Table("wpe", LayerKind::kPositions, d.max_length, d.width, d.init_stddev);
  root.LayerNorm("ln_f", d.width).InLastStage();
  if (!d.tied_head) {
    root.Linear("lm_head", {d.vocabulary_size, d.width}, d.width, d.vocabulary_size,
                /*bias=*/false, d.init_stddev)
        .InLastStage();
  }
  return root.Build();
}

UnitDescription Block(const Gpt2Dimensions& d, int64_t index) {
  const double residual_stddev = d.init_stddev / std::sqrt(2.0 * static_cast<double>(d.layers));
  const std::string prefix = absl::StrCat("h.", index, ".");
  UnitBuilder block(absl::StrCat("h.", index));
  const auto linear = [&](const char* name, int64_t inputs, int64_t outputs, double stddev) {
    block.Linear(prefix + name, {inputs, outputs}, inputs, outputs, /*bias=*/true, stddev);
  };
  block.LayerNorm(prefix + "ln_1", d.width);
  linear("attn.c_attn", d.width, 3 * d.width, d.init_stddev);
  linear("attn.c_proj", d.width, d.width, residual_stddev);
  block.LayerNorm(prefix + "ln_2", d.width);
  linear("mlp.c_fc", d.width, MlpWidth(d), d.init_stddev);
  linear("mlp.c_proj", MlpWidth(d), d.width, residual_stddev);
  return block.Build();
}

// Kept per token by a block, in multiples of the width: the input (1), the first norm's output (1),
// q, k and v (3), attention's output (1), the sum after attention (1), the second norm's output
// (1), the MLP's hidden layer before and after GELU (8). Besides: the norms' statistics (4) and
// attention's logsumexp (one per head).
//
// Alive at once inside one block's backward, in multiples of the width: gradients of the hidden
// layer before and after GELU (8), of q, k and v apart and joined (6), of the residual stream and
// its branches (4), and what ATen's kernels copy and the allocator has not given back (5, measured:
// tests/equivalence/memory_test).
StageFootprint BlockFootprint(const Gpt2Dimensions& dimensions) {
  const auto width = static_cast<double>(dimensions.width);
  const auto mlp_width = static_cast<double>(MlpWidth(dimensions));
  return {.kept_per_token = 8 * width + 2 * mlp_width + 4 + static_cast<double>(dimensions.heads),
          .workspace_per_token = 15 * width + 2 * mlp_width};
}

// Logits, which become their gradient, and a scaled copy of it. A tied head keeps T values per
// token for the norm's cross term.
StageFootprint HeadFootprint(const Gpt2Dimensions& dimensions) {
  const auto width = static_cast<double>(dimensions.width);
  const auto vocabulary = static_cast<double>(dimensions.vocabulary_size);
  return {.kept_per_token = 2 * width + 2,
          .workspace_per_token = vocabulary + 2 * width,
          .weight_grad_per_token = vocabulary,
          .second_pass_per_token = vocabulary,
          .norms_per_token_sq = dimensions.tied_head ? 1.0 : 0.0};
}

}  // namespace

absl::StatusOr<ModelDescription> MakeGpt2Description(const Gpt2Dimensions& dimensions) {
  if (absl::Status status = CheckDimensions(dimensions); !status.ok()) return status;
  ModelDescription model{.family = dimensions, .vocabulary_size = dimensions.vocabulary_size};
  AddUnits(
      Root(dimensions), dimensions.layers, [&](int64_t index) { return Block(dimensions, index); },
      BlockFootprint(dimensions), HeadFootprint(dimensions), model);
  return model;
}

}  // namespace sotto::layout
