#include "server/planning/inference_rules.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/planning/model_facts.h"
#include "server/planning/model_rules.h"
#include "server/planning/spec_rules.h"
#include "server/planning/unsupported_rules.h"
#include "server/planning/value_checks.h"

namespace sotto::planning {
namespace {

constexpr int32_t kDefaultNewTokens = 64;
constexpr int64_t kMaxBatch = 1024;

// What only training has.
void CheckLeftOut(const v1::JobSpec& spec, Rules& rules) {
  const auto refuse = [&](bool is_set, absl::string_view field) {
    rules.Require(!is_set, field, "must be left out: inference does not train", "given");
  };
  refuse(spec.has_data(), "data");
  refuse(spec.has_privacy(), "privacy");
  refuse(spec.has_train(), "train");
  refuse(spec.has_gradient(), "gradient");
  refuse(spec.has_checkpoint(), "checkpoint");
  const v1::WorkersSpec& workers = spec.workers();
  refuse(workers.has_reshard_after_forward(), "workers.reshard_after_forward");
  refuse(workers.has_wrapping(), "workers.wrapping");
  refuse(workers.prefetch_depth() != 0, "workers.prefetch_depth");
  rules.Require(
      !workers.check_operations(), "workers.check_operations",
      "must be left out: it checks the operations of a training's schedule, and inference "
      "has none",
      "true");
  refuse(workers.clear_caches_every_steps() != 0, "workers.clear_caches_every_steps");
}

int32_t LayersOf(const v1::ModelSpec& model) {
  return model.has_llama() ? model.llama().layers() : model.gpt2().layers();
}

// Where weights come from, and a model that has a next token.
void CheckWeights(const v1::JobSpec& spec, Rules& rules) {
  const bool of_job = !spec.inference().checkpoint_of_job().empty();
  const v1::ModelSpec& model = spec.model();
  rules.Require(
      of_job || !model.hugging_face_directory().empty(), "model.hugging_face_directory",
      "must be given, unless inference.checkpoint_of_job is: there are no weights to read", "");
  rules.Require(of_job || !model.has_adaptation(), "model.adaptation",
                "must be left out: inference does not train", "given");
  const absl::string_view family = FamilyOf(model);
  rules.Require(family.empty() || model.has_gpt2() || model.has_llama(), "model",
                "must be a language model (gpt2 or llama) for inference", family);
}

void CheckPrompts(const v1::JobSpec& spec, const InferenceFacts& facts, Rules& rules) {
  constexpr char kField[] = "inference.prompt_file";
  const v1::InferenceSpec& inference = spec.inference();
  if (inference.has_edit()) {
    rules.Require(inference.prompt_file().empty(), kField, "must be left out: an edit reads none",
                  inference.prompt_file());
    return;
  }
  rules.Require(!inference.prompt_file().empty(), kField,
                "must be given: JSON lines on the coordinator's host", "");
  const int32_t vocabulary = VocabularyOf(spec.model());
  if (!facts.prompts.has_value() || vocabulary == 0) return;
  rules.Require(!facts.prompts->has_text || vocabulary == kByteVocabulary, kField,
                absl::StrCat("must hold tokens instead of text: only models with the vocabulary of "
                             "bytes (",
                             kByteVocabulary, ") read text"),
                absl::StrCat("text for a vocabulary of ", vocabulary));
  if (facts.prompts->has_text && vocabulary != kByteVocabulary) return;
  rules.Require(facts.prompts->largest_token < vocabulary, kField,
                absl::StrCat("must hold tokens below the model's vocabulary of ", vocabulary),
                facts.prompts->largest_token);
  const int32_t room = MaxLengthOf(spec.model()) - (inference.has_generate() ? 1 : 0);
  rules.Require(facts.prompts->longest <= room, kField,
                absl::StrCat("must hold at most ", room, " tokens a line, of which the model's ",
                             "max_length is ", MaxLengthOf(spec.model())),
                facts.prompts->longest);
}

void CheckGenerate(const v1::JobSpec& spec, const InferenceFacts& facts, Rules& rules) {
  const v1::GenerateSpec& generate = spec.inference().generate();
  const int32_t vocabulary = VocabularyOf(spec.model());
  const int32_t length = MaxLengthOf(spec.model());
  if (rules.Require(generate.max_new_tokens() >= 0, "inference.generate.max_new_tokens",
                    "must be at least 1, or left out", generate.max_new_tokens()) &&
      facts.prompts.has_value() && facts.prompts->longest < length) {
    const int32_t room = length - facts.prompts->longest;
    rules.Require(generate.max_new_tokens() <= room, "inference.generate.max_new_tokens",
                  absl::StrCat("must be at most ", room, ": the longest prompt has ",
                               facts.prompts->longest, " of the model's ", length, " tokens"),
                  generate.max_new_tokens());
  }
  rules.Require(IsNonNegative(generate.temperature()), "inference.generate.temperature",
                "must be finite and at least 0", generate.temperature());
  rules.Require(generate.top_k() >= 0, "inference.generate.top_k",
                "must be at least 1, or left out", generate.top_k());
  rules.Require(generate.top_p() >= 0 && generate.top_p() <= 1, "inference.generate.top_p",
                "must be in (0, 1]", generate.top_p());
  if (generate.temperature() == 0) {
    constexpr char kGreedy[] = "must be left out: without a temperature nothing is drawn";
    rules.Require(generate.top_k() <= 0, "inference.generate.top_k", kGreedy, generate.top_k());
    rules.Require(generate.top_p() == 0, "inference.generate.top_p", kGreedy, generate.top_p());
  }
  for (int i = 0; i < generate.stop_tokens_size(); ++i) {
    if (vocabulary == 0) break;  // There is no model.
    rules.Require(generate.stop_tokens(i) >= 0 && generate.stop_tokens(i) < vocabulary,
                  absl::StrCat("inference.generate.stop_tokens[", i, "]"),
                  absl::StrCat("must be a token below the model's vocabulary of ", vocabulary),
                  generate.stop_tokens(i));
  }
}

void CheckCapture(const v1::JobSpec& spec, Rules& rules) {
  const v1::CaptureSpec& capture = spec.inference().capture();
  rules.Require(capture.layers_size() > 0, "inference.capture.layers",
                "must name at least one block (0: the embeddings)", "");
  const int32_t layers = LayersOf(spec.model());
  std::set<int32_t> seen;
  if (layers == 0) return;  // There is no model.
  for (int i = 0; i < capture.layers_size(); ++i) {
    rules.Require(IsWithin(capture.layers(i), 0, layers) && seen.insert(capture.layers(i)).second,
                  absl::StrCat("inference.capture.layers[", i, "]"),
                  absl::StrCat("must be 0 to ", layers, ", each once"), capture.layers(i));
  }
}

void CheckEdit(const v1::EditSpec& edit, Rules& rules) {
  rules.Require(!edit.projections().empty(), "inference.edit.projections",
                "must be given: a safetensors file on the coordinator's host", "");
  rules.Require(std::isfinite(edit.scale()), "inference.edit.scale", "must be finite",
                edit.scale());
}

void CheckKind(const v1::JobSpec& spec, const InferenceFacts& facts, Rules& rules) {
  switch (spec.inference().kind_case()) {
    case v1::InferenceSpec::kGenerate:
      return CheckGenerate(spec, facts, rules);
    case v1::InferenceSpec::kCapture:
      return CheckCapture(spec, rules);
    case v1::InferenceSpec::kEdit:
      return CheckEdit(spec.inference().edit(), rules);
    case v1::InferenceSpec::kScore:
      return;
    case v1::InferenceSpec::KIND_NOT_SET:
      rules.Break("inference", "must say what to do: generate, score, capture or edit", "");
  }
}

}  // namespace

int32_t MaxNewTokens(const v1::JobSpec& spec, const InferenceFacts& facts) {
  const int32_t given = spec.inference().generate().max_new_tokens();
  if (given > 0) return given;
  const int32_t longest = facts.prompts.has_value() ? facts.prompts->longest : 0;
  return std::clamp(MaxLengthOf(spec.model()) - longest, 1, kDefaultNewTokens);
}

void CheckInference(const v1::JobSpec& spec, const InferenceFacts& facts, const HostFacts& host,
                    Rules& rules) {
  CheckName(spec, rules);
  CheckLeftOut(spec, rules);
  CheckUnsupported(spec, rules);
  // A job without weights has no model either: the facts say so.
  const bool is_unknown = FamilyOf(spec.model()).empty();
  if (!is_unknown || spec.inference().checkpoint_of_job().empty()) CheckModel(spec.model(), rules);
  CheckWeights(spec, rules);
  CheckWorkers(spec.workers(), host, rules);
  const v1::InferenceSpec& inference = spec.inference();
  rules.Require(!inference.output().empty(), "inference.output",
                "must be given: a path on the coordinator's host", "");
  rules.Require(IsWithin(inference.batch_size(), 0, kMaxBatch), "inference.batch_size",
                absl::StrCat("must be 1 to ", kMaxBatch, ", or left out"), inference.batch_size());
  CheckPrompts(spec, facts, rules);
  CheckKind(spec, facts, rules);
  for (const spec::Violation& violation : facts.violations) {
    rules.Break(violation.field, violation.rule, violation.value);
  }
}

}  // namespace sotto::planning
