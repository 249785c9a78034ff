#include "server/planning/model_rules.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "server/planning/image_models.h"
#include "server/planning/value_checks.h"

namespace sotto::planning {
namespace {

constexpr int64_t kMaxRecordTokens = 1 << 16;
constexpr int64_t kMaxWidth = 1 << 16;
constexpr Range kFactor{1e-6, 1e6, "[1e-6, 1e6]"};
constexpr Range kRotaryScale{1, 1e6, "[1, 1e6]"};
constexpr Range kRotaryBase{1, 1e12, "[1, 1e12]"};

// Fields of one family, by their names.
class FamilyRules {
 public:
  FamilyRules(const char* family, Rules& rules) : family_(family), rules_(rules) {}

  bool Within(const char* name, int64_t value, int64_t low, int64_t high) {
    return rules_.Require(IsWithin(value, low, high), Field(name),
                          absl::StrCat("must be ", low, " to ", high), value);
  }
  void Optional(const char* name, int64_t value, int64_t high) {
    rules_.Require(IsWithin(value, 0, high), Field(name),
                   absl::StrCat("must be 1 to ", high, ", or left out"), value);
  }
  void Optional(const char* name, double value, const Range& range) {
    rules_.Require(value == 0 || range.Has(value), Field(name),
                   absl::StrCat("must be positive, in ", range.text, ", or left out"), value);
  }
  void Divides(const char* name, int64_t value, const char* of, int64_t whole) {
    rules_.Require(whole % value == 0, Field(name),
                   absl::StrCat("must divide the ", of, " ", whole), value);
  }
  void Require(bool holds, const char* name, const char* rule, const absl::AlphaNum& value) {
    rules_.Require(holds, Field(name), rule, value);
  }

  // What every family has.
  template <typename Spec>
  void Shape(const Spec& spec) {
    Within("vocabulary_size", spec.vocabulary_size(), 2, 1 << 20);
    Within("width", spec.width(), 1, kMaxWidth);
    Within("layers", spec.layers(), 1, 1024);
    Within("max_length", spec.max_length(), 1, kMaxRecordTokens);
    Within("heads", spec.heads(), 1, kMaxWidth);
    Optional("hidden_width", spec.hidden_width(), 1 << 20);
    Optional("init_stddev", spec.init_stddev(), kInitStddev);
  }

 private:
  std::string Field(const char* name) const { return absl::StrCat("model.", family_, ".", name); }

  const char* family_;
  Rules& rules_;
};

void CheckGpt2(const v1::Gpt2Spec& gpt2, Rules& rules) {
  FamilyRules family("gpt2", rules);
  family.Shape(gpt2);
  if (gpt2.heads() >= 1) family.Divides("heads", gpt2.heads(), "width", gpt2.width());
  family.Optional("layer_norm_epsilon", gpt2.layer_norm_epsilon(), kNormEpsilon);
  family.Require(v1::Activation_IsValid(gpt2.activation()), "activation",
                 "must be a known activation", static_cast<int>(gpt2.activation()));
}

void CheckRotaryScaling(const v1::RotaryScalingSpec& scaling, Rules& rules) {
  FamilyRules fields("llama.rotary_scaling", rules);
  fields.Require(scaling.kind() != v1::RotaryScalingSpec::KIND_UNSPECIFIED &&
                     v1::RotaryScalingSpec::Kind_IsValid(scaling.kind()),
                 "kind", "must be one of LINEAR, DYNAMIC, YARN, LLAMA3",
                 v1::RotaryScalingSpec::Kind_Name(scaling.kind()));
  fields.Require(kRotaryScale.Has(scaling.factor()), "factor", "must be at least 1, in [1, 1e6]",
                 scaling.factor());
  fields.Optional("original_max_length", scaling.original_max_length(), kMaxRecordTokens);
  fields.Optional("low_frequency_factor", scaling.low_frequency_factor(), kFactor);
  fields.Optional("high_frequency_factor", scaling.high_frequency_factor(), kFactor);
  fields.Optional("beta_fast", scaling.beta_fast(), kFactor);
  fields.Optional("beta_slow", scaling.beta_slow(), kFactor);
  fields.Optional("attention_factor", scaling.attention_factor(), kFactor);
  fields.Optional("attention_scale", scaling.attention_scale(), kFactor);
  fields.Optional("attention_scale_all_dims", scaling.attention_scale_all_dims(), kFactor);
}

void CheckLlama(const v1::LlamaSpec& llama, Rules& rules) {
  FamilyRules family("llama", rules);
  family.Shape(llama);
  family.Within("hidden_width", llama.hidden_width(), 1, 1 << 20);
  family.Optional("key_value_heads", llama.key_value_heads(), kMaxWidth);
  if (llama.key_value_heads() >= 1) {
    family.Divides("key_value_heads", llama.key_value_heads(), "heads", llama.heads());
  }
  family.Require(IsWithin(llama.head_width(), 0, kMaxWidth) && llama.head_width() % 2 == 0,
                 "head_width", "must be even, or left out", llama.head_width());
  if (llama.head_width() == 0 && llama.heads() >= 1) {
    family.Divides("heads", llama.heads(), "width", llama.width());
    family.Require(llama.width() / llama.heads() % 2 == 0, "heads",
                   "must leave each head an even width (rotary positions turn pairs)",
                   llama.heads());
  }
  family.Optional("rms_norm_epsilon", llama.rms_norm_epsilon(), kNormEpsilon);
  family.Optional("rotary_base", llama.rotary_base(), kRotaryBase);
  if (llama.has_rotary_scaling()) CheckRotaryScaling(llama.rotary_scaling(), rules);
}

void CheckEncoder(const v1::EncoderSpec& encoder, Rules& rules) {
  FamilyRules family("encoder", rules);
  family.Shape(encoder);
  if (encoder.heads() >= 1) family.Divides("heads", encoder.heads(), "width", encoder.width());
  family.Within("classes", encoder.classes(), 2, 1 << 20);
  family.Optional("layer_norm_epsilon", encoder.layer_norm_epsilon(), kNormEpsilon);
}

void CheckAdaptation(const v1::AdaptationSpec& adaptation, Rules& rules) {
  if (adaptation.has_lora()) {
    const v1::LoraSpec& lora = adaptation.lora();
    rules.Require(IsWithin(lora.rank(), 1, kMaxWidth), "model.adaptation.lora.rank",
                  absl::StrCat("must be 1 to ", kMaxWidth), lora.rank());
    SOTTO_REQUIRE_IN(rules, lora, alpha, kFactor, "model.adaptation.lora.alpha");
    for (int i = 0; i < lora.targets_size(); ++i) {
      rules.Require(!lora.targets(i).empty(),
                    absl::StrCat("model.adaptation.lora.targets[", i, "]"),
                    "must be the last part of a layer's name", "");
    }
  }
  for (int i = 0; i < adaptation.frozen_size(); ++i) {
    rules.Require(!adaptation.frozen(i).empty(), absl::StrCat("model.adaptation.frozen[", i, "]"),
                  "must be a parameter's name, with * for any text", "");
  }
}

}  // namespace

void CheckModel(const v1::ModelSpec& model, Rules& rules) {
  if (model.has_adaptation()) CheckAdaptation(model.adaptation(), rules);
  switch (model.family_case()) {
    case v1::ModelSpec::kGpt2:
      return CheckGpt2(model.gpt2(), rules);
    case v1::ModelSpec::kLlama:
      return CheckLlama(model.llama(), rules);
    case v1::ModelSpec::kEncoder:
      return CheckEncoder(model.encoder(), rules);
    case v1::ModelSpec::kMlp:
    case v1::ModelSpec::kCnn:
    case v1::ModelSpec::kVit:
    case v1::ModelSpec::kDit:
      return CheckImageModel(model, rules);
    default:
      rules.Break("model",
                  "must name a family (gpt2, llama, encoder, mlp, cnn, vit, dit) or a "
                  "hugging_face_directory",
                  "");
  }
}

}  // namespace sotto::planning
