// Parts without parameters against autograd in float64.
#include "worker/nn/attention.h"

#include <cmath>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "torch/torch.h"
#include "worker/nn/activation.h"
#include "worker/nn/grouped_attention.h"
#include "worker/nn/rotary.h"

namespace sotto::nn {
namespace {

using Tensors = std::vector<torch::Tensor>;

double Distance(const torch::Tensor& actual, const torch::Tensor& expected) {
  return (actual.to(torch::kDouble) - expected).norm().item<double>();
}

void ExpectNear(const torch::Tensor& actual, const torch::Tensor& expected) {
  EXPECT_LE(Distance(actual, expected), 1e-5 * expected.norm().item<double>() + 1e-7);
}

torch::Tensor Leaf(const torch::Tensor& values) {
  return values.detach().to(torch::kDouble).clone().requires_grad_(true);
}

struct AttentionCase {
  std::string name;
  GroupedAttention::Options options;
  bool rotary = false;
  bool masked = false;
};

// Keeps the bytes of a case out of messages.
void PrintTo(const AttentionCase& c, std::ostream* out) { *out << c.name; }

class GroupedAttentionTest : public ::testing::TestWithParam<AttentionCase> {
 protected:
  static constexpr int64_t kExamples = 3;
  static constexpr int64_t kTokens = 7;
  static constexpr int64_t kWidth = 4;

  torch::Tensor Values(int64_t heads) const {
    return torch::randn({kExamples, kTokens, heads * kWidth});
  }

  // [B, heads, T, width] of [B, T, heads * width], turned.
  torch::Tensor Split(const torch::Tensor& values, bool turned) const {
    torch::Tensor x = values.view({kExamples, kTokens, -1, kWidth}).transpose(1, 2);
    if (!turned) return x;
    const torch::Tensor angles = torch::outer(torch::arange(kTokens, torch::kDouble),
                                              torch::tensor({1.0, 0.25}, torch::kDouble));
    const torch::Tensor first = x.slice(3, 0, 2);
    const torch::Tensor second = x.slice(3, 2, 4);
    return 1.5 * torch::cat({first * angles.cos() - second * angles.sin(),
                             second * angles.cos() + first * angles.sin()},
                            3);
  }

  torch::Tensor Reference(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v,
                          const torch::Tensor& mask) const {
    const GroupedAttention::Options& o = GetParam().options;
    const int64_t group = o.heads / o.key_value_heads;
    const torch::Tensor keys = Split(k, GetParam().rotary).repeat_interleave(group, 1);
    const torch::Tensor values = Split(v, false).repeat_interleave(group, 1);
    torch::Tensor scores = Split(q, GetParam().rotary).matmul(keys.transpose(2, 3)) *
                           (o.scale == 0 ? 1 / std::sqrt(static_cast<double>(kWidth)) : o.scale);
    const double never = -std::numeric_limits<double>::infinity();
    if (o.causal) {
      scores = scores.masked_fill(torch::ones({kTokens, kTokens}, torch::kBool).triu(1), never);
    }
    if (mask.defined()) {
      scores = scores.masked_fill(mask.eq(0).view({kExamples, 1, 1, kTokens}), never);
    }
    return torch::softmax(scores, -1)
        .matmul(values)
        .transpose(1, 2)
        .reshape({kExamples, kTokens, -1});
  }
};

INSTANTIATE_TEST_SUITE_P(
    Cases, GroupedAttentionTest,
    ::testing::Values(
        AttentionCase{"Causal", {.heads = 4, .key_value_heads = 4, .head_width = 4}},
        AttentionCase{"Grouped", {.heads = 6, .key_value_heads = 2, .head_width = 4}},
        AttentionCase{"OneKeyHead", {.heads = 4, .key_value_heads = 1, .head_width = 4}, true},
        AttentionCase{"Rotary", {.heads = 2, .key_value_heads = 2, .head_width = 4}, true},
        AttentionCase{"Scaled", {.heads = 2, .key_value_heads = 2, .head_width = 4, .scale = 0.2}},
        AttentionCase{"BothWays",
                      {.heads = 2, .key_value_heads = 2, .head_width = 4, .causal = false}},
        AttentionCase{"BothWaysMasked",
                      {.heads = 2, .key_value_heads = 1, .head_width = 4, .causal = false},
                      true,
                      true}),
    [](const auto& info) { return info.param.name; });

TEST_P(GroupedAttentionTest, OutputAndGradientsEqualAutograd) {
  torch::manual_seed(3);
  const AttentionCase& c = GetParam();
  const torch::Tensor q = Values(c.options.heads);
  const torch::Tensor k = Values(c.options.key_value_heads);
  const torch::Tensor v = Values(c.options.key_value_heads);
  torch::Tensor mask;
  if (c.masked) {
    mask = torch::ones({kExamples, kTokens});
    mask[0].slice(0, 3).zero_();
    mask[1].zero_();  // nothing to attend to: as if nothing were masked
  }
  const torch::Tensor seen = mask.defined() ? mask.clone() : mask;
  if (c.masked) seen[1].fill_(1);
  const RotaryTable table(std::vector<float>{1.0f, 0.25f}, /*magnitude=*/1.5f, kTokens + 2);
  const GroupedAttention::Context context = {.rotary = c.rotary ? &table : nullptr,
                                             .key_mask_BT = mask};
  const GroupedAttention attention(c.options);
  GroupedAttention::Saved saved;
  const torch::Tensor output = attention.Forward(q, k, v, context, &saved);
  const torch::Tensor output_grads = torch::randn(output.sizes());
  const GroupedAttention::Grads grads = attention.Backward(saved, output_grads, context);

  const Tensors leaves = {Leaf(q), Leaf(k), Leaf(v)};
  const torch::Tensor expected = Reference(leaves[0], leaves[1], leaves[2], seen);
  const Tensors expected_grads =
      torch::autograd::grad({expected}, leaves, {output_grads.to(torch::kDouble)});
  ExpectNear(output, expected.detach());
  ExpectNear(grads.queries, expected_grads[0]);
  ExpectNear(grads.keys, expected_grads[1]);
  ExpectNear(grads.values, expected_grads[2]);
}

TEST(CausalAttentionTest, IsGroupedAttentionOverOneProjection) {
  torch::manual_seed(3);
  const torch::Tensor projection = torch::randn({2, 5, 3 * 8});
  const CausalAttention fused(/*heads=*/2, /*scale=*/0.3);
  const GroupedAttention split({.heads = 2, .key_value_heads = 2, .head_width = 4, .scale = 0.3});
  CausalAttention::Saved fused_saved;
  GroupedAttention::Saved split_saved;
  const Tensors parts = projection.chunk(3, 2);
  const torch::Tensor output = fused.Forward(projection, &fused_saved);
  ExpectNear(output, split
                         .Forward(parts[0].contiguous(), parts[1].contiguous(),
                                  parts[2].contiguous(), {}, &split_saved)
                         .to(torch::kDouble));
  const torch::Tensor output_grads = torch::randn(output.sizes());
  const GroupedAttention::Grads grads = split.Backward(split_saved, output_grads, {});
  ExpectNear(fused.Backward(fused_saved, output_grads),
             torch::cat({grads.queries, grads.keys, grads.values}, 2).to(torch::kDouble));
}

TEST(RotaryTableTest, TurningBackUndoesTurning) {
  torch::manual_seed(3);
  const RotaryTable table(std::vector<float>{0.7f, 0.1f, 0.01f}, /*magnitude=*/2, /*tokens=*/9);
  const torch::Tensor values = torch::randn({2, 5, 3, 6});
  // The transpose of a turn by 2 is the turn back by 2: together 4.
  ExpectNear(table.TurnBack(table.Turn(values)), 4 * values.to(torch::kDouble));
}

TEST(ActivationTest, GradientsEqualAutograd) {
  torch::manual_seed(3);
  const torch::Tensor x = torch::randn({3, 4, 5});
  const torch::Tensor up = torch::randn({3, 4, 5});
  const torch::Tensor grads = torch::randn({3, 4, 5});
  for (ActivationKind kind : {ActivationKind::kGeluTanh, ActivationKind::kGelu,
                              ActivationKind::kRelu, ActivationKind::kSilu}) {
    const torch::Tensor leaf = Leaf(x);
    torch::Tensor expected;
    if (kind == ActivationKind::kGeluTanh) {
      expected =
          0.5 * leaf * (1 + torch::tanh(std::sqrt(2 / M_PI) * (leaf + 0.044715 * leaf.pow(3))));
    } else if (kind == ActivationKind::kGelu) {
      expected = 0.5 * leaf * (1 + torch::erf(leaf / std::sqrt(2.0)));
    } else if (kind == ActivationKind::kRelu) {
      expected = leaf.clamp_min(0);
    } else {
      expected = leaf * torch::sigmoid(leaf);
    }
    ExpectNear(Activate(kind, x), expected.detach());
    const torch::Tensor up_leaf = Leaf(up);
    const Tensors alone = torch::autograd::grad({expected}, {leaf}, {grads.to(torch::kDouble)},
                                                /*retain_graph=*/true);
    ExpectNear(ActivateBackward(kind, x, grads), alone[0]);
    const Tensors gated =
        torch::autograd::grad({expected * up_leaf}, {leaf, up_leaf}, {grads.to(torch::kDouble)});
    ExpectNear(Gate(kind, x, up), (expected * up_leaf).detach());
    const GateGrads own = GateBackward(kind, x, up, grads);
    ExpectNear(own.gate, gated[0]);
    ExpectNear(own.up, gated[1]);
  }
}

TEST(ModulateTest, GradientsEqualAutograd) {
  torch::manual_seed(3);
  const torch::Tensor x = torch::randn({3, 4, 5});
  const torch::Tensor modulation = torch::randn({3, 1, 10});
  const torch::Tensor grads = torch::randn({3, 4, 5});
  const torch::Tensor x_leaf = Leaf(x);
  const torch::Tensor modulation_leaf = Leaf(modulation);
  const torch::Tensor expected =
      x_leaf * (1 + modulation_leaf.slice(2, 0, 5)) + modulation_leaf.slice(2, 5, 10);
  const Tensors expected_grads =
      torch::autograd::grad({expected}, {x_leaf, modulation_leaf}, {grads.to(torch::kDouble)});
  ExpectNear(Modulate(x, modulation), expected.detach());
  const ModulateGrads own = ModulateBackward(x, modulation, grads);
  ExpectNear(own.input, expected_grads[0]);
  ExpectNear(own.modulation, expected_grads[1]);
}

}  // namespace
}  // namespace sotto::nn
