#include "server/planning/remedy_search.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace sotto::planning {
namespace {

constexpr size_t kMostSets = 3;

// Remedies of one set, each at one of its values.
class Choice {
 public:
  explicit Choice(const v1::JobSpec& spec) : spec_(spec) {}

  void Add(const Remedy& remedy, size_t value) { chosen_.push_back({&remedy, value}); }
  void AddLeanest(const Remedy& remedy) { Add(remedy, remedy.values.size() - 1); }

  v1::JobSpec Spec() const {
    v1::JobSpec changed = spec_;
    for (const Chosen& one : chosen_) one.remedy->values[one.value].apply(changed);
    return changed;
  }

  std::string Text() const {
    return absl::StrJoin(chosen_, " with ", [](std::string* out, const Chosen& one) {
      absl::StrAppend(out, one.remedy->values[one.value].text);
    });
  }

  FoundRemedy Found(int64_t bytes) const {
    FoundRemedy found{.text = absl::StrCat(Text(), " needs ", Mebibytes(bytes))};
    for (const Chosen& one : chosen_) found.fields.push_back(one.remedy->field);
    return found;
  }

  // The first value of each member that still fits, the others staying. Gives the bytes then.
  int64_t TakeBack(int64_t bytes, FittingBytes bytes_if_fitting) {
    for (Chosen& one : chosen_) {
      const size_t leanest = one.value;
      for (one.value = 0; one.value < leanest; ++one.value) {
        if (const std::optional<int64_t> fitting = bytes_if_fitting(Spec()); fitting.has_value()) {
          bytes = *fitting;
          break;
        }
      }
    }
    return bytes;
  }

 private:
  struct Chosen {
    const Remedy* remedy;
    size_t value;
  };

  const v1::JobSpec& spec_;
  std::vector<Chosen> chosen_;
};

void FindSingles(const v1::JobSpec& spec, absl::Span<const Remedy> remedies,
                 FittingBytes bytes_if_fitting, std::vector<FoundRemedy>& found) {
  for (const Remedy& remedy : remedies) {
    for (size_t value = 0; value < remedy.values.size(); ++value) {
      Choice choice(spec);
      choice.Add(remedy, value);
      const std::optional<int64_t> bytes = bytes_if_fitting(choice.Spec());
      if (!bytes.has_value()) continue;
      found.push_back(choice.Found(*bytes));
      break;
    }
  }
}

// Sets of `size`, in the order of their members.
void FindSets(const v1::JobSpec& spec, absl::Span<const Remedy* const> remedies, size_t size,
              FittingBytes bytes_if_fitting, std::vector<FoundRemedy>& found) {
  std::vector<bool> taken(remedies.size(), false);
  std::fill_n(taken.begin(), size, true);
  do {
    Choice choice(spec);
    for (size_t i = 0; i < remedies.size(); ++i) {
      if (taken[i]) choice.AddLeanest(*remedies[i]);
    }
    const std::optional<int64_t> bytes = bytes_if_fitting(choice.Spec());
    if (!bytes.has_value()) continue;
    const int64_t least = choice.TakeBack(*bytes, bytes_if_fitting);
    found.push_back(choice.Found(least));
  } while (found.size() < kMostSets && std::prev_permutation(taken.begin(), taken.end()));
}

std::vector<const Remedy*> Combining(absl::Span<const Remedy> remedies) {
  std::vector<const Remedy*> combining;
  for (const Remedy& remedy : remedies) {
    if (remedy.combines && !remedy.values.empty()) combining.push_back(&remedy);
  }
  return combining;
}

}  // namespace

std::vector<FoundRemedy> FindRemedies(const v1::JobSpec& spec, absl::Span<const Remedy> remedies,
                                      FittingBytes bytes_if_fitting) {
  std::vector<FoundRemedy> found;
  FindSingles(spec, remedies, bytes_if_fitting, found);
  const std::vector<const Remedy*> combining = Combining(remedies);
  for (size_t size = 2; found.empty() && size <= combining.size(); ++size) {
    FindSets(spec, combining, size, bytes_if_fitting, found);
  }
  return found;
}

v1::JobSpec WithLeanest(const v1::JobSpec& spec, absl::Span<const Remedy> remedies,
                        std::string& text) {
  Choice choice(spec);
  for (const Remedy* remedy : Combining(remedies)) choice.AddLeanest(*remedy);
  text = choice.Text();
  return choice.Spec();
}

std::string Mebibytes(int64_t bytes) {
  constexpr int64_t kMebibyte = 1 << 20;
  return absl::StrCat((bytes + kMebibyte - 1) / kMebibyte, " MiB");
}

}  // namespace sotto::planning
