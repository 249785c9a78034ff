#include "worker/infer/scorer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/ops/empty.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "worker/infer/line_output.h"

namespace sotto::infer {
namespace {

// What the model reads of a prompt: all but the last token, after which nothing is scored.
std::vector<int32_t> ReadTokens(const dataset::Prompt& prompt) {
  std::vector<int32_t> tokens = prompt.tokens;
  tokens.insert(tokens.end(), prompt.continuation.begin(), prompt.continuation.end() - 1);
  return tokens;
}

// The positions of a group whose logits are wanted, text after text, and the tokens they predict.
struct Scored {
  models::InferenceBatch batch;
  std::vector<int64_t> targets;
  std::vector<double> log_probabilities;  // of the targets
};

Scored Prepare(absl::Span<const dataset::Prompt> prompts) {
  std::vector<std::vector<int32_t>> texts;
  for (const dataset::Prompt& prompt : prompts) texts.push_back(ReadTokens(prompt));
  Scored scored{.batch = PadTexts(texts)};
  std::vector<int64_t> wanted;
  for (size_t b = 0; b < prompts.size(); ++b) {
    const int64_t begin = static_cast<int64_t>(b) * scored.batch.tokens_BT.size(1) +
                          static_cast<int64_t>(prompts[b].tokens.size()) - 1;
    for (size_t i = 0; i < prompts[b].continuation.size(); ++i) {
      wanted.push_back(begin + static_cast<int64_t>(i));
      scored.targets.push_back(prompts[b].continuation[i]);
    }
  }
  scored.batch.wanted = at::empty({static_cast<int64_t>(wanted.size())}, at::kLong);
  std::copy(wanted.begin(), wanted.end(), scored.batch.wanted.data_ptr<int64_t>());
  scored.log_probabilities.resize(wanted.size());
  return scored;
}

void Score(int64_t first, const at::Tensor& logits, Scored& scored) {
  const size_t vocabulary = static_cast<size_t>(logits.size(1));
  const float* row = logits.const_data_ptr<float>();
  for (int64_t i = 0; i < logits.size(0); ++i, row += vocabulary) {
    scored.log_probabilities[first + i] =
        LogProbability({row, vocabulary}, scored.targets[first + i]);
  }
}

absl::Status Write(const TextGroup& group, absl::Span<const dataset::Prompt> prompts,
                   const Scored& scored, LinePart& part) {
  size_t next = 0;
  for (size_t b = 0; b < prompts.size(); ++b) {
    std::vector<double> tokens;
    double sum = 0;
    for (size_t i = 0; i < prompts[b].continuation.size(); ++i) {
      tokens.push_back(scored.log_probabilities[next++]);
      sum += tokens.back();
    }
    const int64_t prompt = group.first + static_cast<int64_t>(b);
    if (!std::isfinite(sum)) {  // Each is at most 0: one that is not finite makes the sum so.
      return absl::InvalidArgumentError(
          absl::StrCat("model must have finite weights: the log-probabilities of prompt ", prompt,
                       " are not finite"));
    }
    const nlohmann::ordered_json line = {
        {"prompt", prompt}, {"log_probability", sum}, {"token_log_probabilities", tokens}};
    RETURN_IF_ERROR(part.Append(line.dump()));
  }
  return absl::OkStatus();
}

}  // namespace

double LogProbability(absl::Span<const float> logits, int64_t token) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  return logits[token] - largest - std::log(sum);
}

absl::StatusOr<Outcome> RunScore(const Task& task) {
  const TemporaryFile file(PartPath(task.unfinished, task.communicator.rank()));
  ASSIGN_OR_RETURN(LinePart part, LinePart::Create(file.path()));
  const auto prompts_of = [&](const TextGroup& group) {
    return absl::MakeConstSpan(task.prompts).subspan(group.first, group.size);
  };
  const auto run = [&](const std::vector<TextGroup>& groups) -> absl::StatusOr<bool> {
    std::vector<Scored> scored;
    std::vector<models::InferenceBatch> batches;
    for (const TextGroup& group : groups) {
      scored.push_back(Prepare(prompts_of(group)));
      batches.push_back(scored.back().batch);
    }
    RETURN_IF_ERROR(task.model.forward().Begin(/*passes=*/1));
    RETURN_IF_ERROR(task.model.forward().Run(
        batches, [](size_t, int, const at::Tensor&) {},
        [&](size_t group, int64_t first, const at::Tensor& logits) {
          Score(first, logits, scored[group]);
        }));
    for (size_t i = 0; i < groups.size(); ++i) {
      RETURN_IF_ERROR(Write(groups[i], prompts_of(groups[i]), scored[i], part));
    }
    return true;
  };
  ASSIGN_OR_RETURN(const Outcome outcome, RunPasses(task, run));
  if (outcome.was_stopped) return outcome;
  RETURN_IF_ERROR(FinishTogether(task, [&] { return MergeLines(task); }));
  return outcome;
}

}  // namespace sotto::infer
