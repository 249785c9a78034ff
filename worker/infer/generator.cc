#include "worker/infer/generator.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>

#include "ATen/ops/empty.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "worker/infer/line_output.h"

namespace sotto::infer {
namespace {

using Json = nlohmann::ordered_json;

// One text on its way.
struct Text {
  int64_t index = 0;  // of the prompt
  int64_t prompt_length = 0;
  std::vector<int32_t> tokens;  // prompt and what was generated
  bool was_stopped = false;     // by a stop token

  int64_t num_generated() const { return static_cast<int64_t>(tokens.size()) - prompt_length; }
};

bool IsNumber(float logit) { return !std::isnan(logit) && logit != INFINITY; }

// A group of texts and its caches. Texts that have ended are computed on with it: shapes stay.
class Generation {
 public:
  Generation(const Task& task, const GenerateOptions& options, const TextGroup& group)
      : options_(options), caches_(task.model.description().units.size()) {
    for (int64_t i = 0; i < group.size; ++i) {
      const std::vector<int32_t>& prompt = task.prompts[group.first + i].tokens;
      texts_.push_back({.index = group.first + i,
                        .prompt_length = static_cast<int64_t>(prompt.size()),
                        .tokens = prompt});
      capacity_ = std::max(capacity_, texts_.back().prompt_length + options.max_new_tokens);
    }
  }

  bool HasEnded(const Text& text) const {
    return text.was_stopped || text.num_generated() == options_.max_new_tokens;
  }

  int64_t CountActive() const {
    return std::count_if(texts_.begin(), texts_.end(),
                         [this](const Text& text) { return !HasEnded(text); });
  }

  // The prompts at first, then one token of each text.
  models::InferenceBatch NextBatch() {
    models::InferenceBatch batch;
    std::vector<std::vector<int32_t>> tokens;
    std::vector<int64_t> wanted;
    for (const Text& text : texts_) {
      tokens.push_back(was_read_ ? std::vector<int32_t>{text.tokens.back()} : text.tokens);
    }
    batch = PadTexts(tokens);
    for (size_t b = 0; b < tokens.size(); ++b) {
      wanted.push_back(static_cast<int64_t>(b) * batch.tokens_BT.size(1) +
                       static_cast<int64_t>(tokens[b].size()) - 1);
      if (was_read_) batch.past_B.push_back(static_cast<int64_t>(texts_[b].tokens.size()) - 1);
    }
    batch.wanted = at::empty({static_cast<int64_t>(wanted.size())}, at::kLong);
    std::copy(wanted.begin(), wanted.end(), batch.wanted.data_ptr<int64_t>());
    batch.caches = &caches_;
    batch.capacity = capacity_;
    was_read_ = true;
    return batch;
  }

  // Logits of the texts from `first` on.
  absl::Status Continue(int64_t first, const at::Tensor& logits) {
    const size_t vocabulary = static_cast<size_t>(logits.size(1));
    const float* row = logits.const_data_ptr<float>();
    for (int64_t i = 0; i < logits.size(0); ++i, row += vocabulary) {
      Text& text = texts_[first + i];
      if (HasEnded(text)) continue;
      if (!std::all_of(row, row + vocabulary, IsNumber)) {
        return absl::InvalidArgumentError(
            absl::StrCat("model must have finite weights: the logits of prompt ", text.index,
                         " are no numbers"));
      }
      const int64_t token =
          ChooseToken({row, vocabulary}, options_.choice,
                      DrawOf(options_.seed, text.index, static_cast<int64_t>(text.tokens.size())));
      if (std::count(options_.stop_tokens.begin(), options_.stop_tokens.end(), token) > 0) {
        text.was_stopped = true;
      } else {
        text.tokens.push_back(static_cast<int32_t>(token));
      }
    }
    return absl::OkStatus();
  }

  const std::vector<Text>& texts() const { return texts_; }

 private:
  const GenerateOptions& options_;
  std::vector<Text> texts_;
  std::vector<nn::KeyValueCache> caches_;
  int64_t capacity_ = 0;
  bool was_read_ = false;
};

std::string LineOf(const Text& text, bool writes_text) {
  const std::vector<int32_t> tokens(text.tokens.begin() + text.prompt_length, text.tokens.end());
  Json line = {{"prompt", text.index}, {"tokens", tokens}};
  if (writes_text) {
    std::string bytes;
    for (const int32_t token : tokens) {
      if (token < 256) bytes.push_back(static_cast<char>(token));
    }
    line["text"] = bytes;
  }
  line["ended_by"] = text.was_stopped ? "stop_token" : "max_new_tokens";
  return line.dump(/*indent=*/-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

// Texts of all ranks that go on, and whether any rank was told to stop.
struct Agreement {
  bool has_active = false;
  bool is_stopped = false;
};

absl::StatusOr<Agreement> Agree(const Task& task, const std::vector<Generation>& generations) {
  std::array<double, 1> active = {0};
  for (const Generation& generation : generations) active[0] += generation.CountActive();
  RETURN_IF_ERROR(task.communicator.AllReduceSum(absl::MakeSpan(active)));
  ASSIGN_OR_RETURN(const bool is_stopped, IsStopped(task));
  return Agreement{.has_active = active[0] > 0, .is_stopped = is_stopped};
}

// One token more for every text that goes on.
absl::Status Advance(const Task& task, std::vector<Generation>& generations) {
  std::vector<Generation*> active;
  std::vector<models::InferenceBatch> batches;
  for (Generation& generation : generations) {
    if (generation.CountActive() == 0) continue;
    active.push_back(&generation);
    batches.push_back(generation.NextBatch());
  }
  absl::Status status;
  RETURN_IF_ERROR(task.model.forward().Run(
      batches, [](size_t, int, const at::Tensor&) {},
      [&](size_t group, int64_t first, const at::Tensor& logits) {
        status.Update(active[group]->Continue(first, logits));
      }));
  return status;
}

}  // namespace

absl::StatusOr<Outcome> RunGenerate(const Task& task, const GenerateOptions& options) {
  const TemporaryFile file(PartPath(task.unfinished, task.communicator.rank()));
  ASSIGN_OR_RETURN(LinePart part, LinePart::Create(file.path()));
  const auto run = [&](const std::vector<TextGroup>& groups) -> absl::StatusOr<bool> {
    std::vector<Generation> generations;
    for (const TextGroup& group : groups) generations.emplace_back(task, options, group);
    RETURN_IF_ERROR(task.model.forward().Begin(static_cast<int>(options.max_new_tokens)));
    for (int64_t token = 0; token < options.max_new_tokens; ++token) {
      RETURN_IF_ERROR(Advance(task, generations));
      ASSIGN_OR_RETURN(const Agreement agreement, Agree(task, generations));
      if (agreement.is_stopped) return false;
      if (!agreement.has_active) break;
    }
    for (const Generation& generation : generations) {
      for (const Text& text : generation.texts()) {
        RETURN_IF_ERROR(part.Append(LineOf(text, task.writes_text)));
      }
    }
    return true;
  };
  ASSIGN_OR_RETURN(const Outcome outcome, RunPasses(task, run));
  if (outcome.was_stopped) return outcome;
  RETURN_IF_ERROR(FinishTogether(task, [&] { return MergeLines(task); }));
  return outcome;
}

}  // namespace sotto::infer
