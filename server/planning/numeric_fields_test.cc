// Every number of a spec that trains, set to what nobody means: not a number, infinite, below
// nothing, nothing, far too much and far too little. A number is refused by its name, with its
// value, or one of the tables says why it may be had.
#include <cmath>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/status_matchers.h"
#include "common/spec/violation.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "server/planning/planner.h"
#include "server/planning/testing/demo_job.h"

namespace sotto::planning {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;
using ::google::protobuf::Reflection;

// From the spec to a number.
using Path = std::vector<const FieldDescriptor*>;

std::string NameOf(const Path& path) {
  std::string name;
  for (const FieldDescriptor* field : path) {
    absl::StrAppend(&name, name.empty() ? "" : ".", std::string(field->name()));
  }
  return name;
}

bool IsReal(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE;
}

bool IsNumber(const FieldDescriptor& field) {
  return IsReal(field) || field.cpp_type() == FieldDescriptor::CPPTYPE_INT32 ||
         field.cpp_type() == FieldDescriptor::CPPTYPE_INT64;
}

// Seeds (uint64) may be anything. What does not train has rules and tests of its own.
void Collect(const Descriptor& message, const Path& parents, std::vector<Path>& paths) {
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    if (field.name() == "inference") continue;
    Path path = parents;
    path.push_back(&field);
    if (IsNumber(field)) paths.push_back(path);
    if (field.message_type() != nullptr) Collect(*field.message_type(), path, paths);
  }
}

std::vector<Path> NumbersOfSpecs() {
  std::vector<Path> paths;
  Collect(*v1::JobSpec::descriptor(), {}, paths);
  return paths;
}

// Lists get the value as their only one.
void Set(const Path& path, double value, Message& spec) {
  Message* message = &spec;
  for (size_t i = 0; i + 1 < path.size(); ++i) {
    message = message->GetReflection()->MutableMessage(message, path[i]);
  }
  const Reflection& reflection = *message->GetReflection();
  const FieldDescriptor* field = path.back();
  const auto whole = [&](auto limits) {
    using Limits = decltype(limits);
    return std::isinf(value) ? (value > 0 ? Limits::max() : Limits::min())
                             : static_cast<decltype(Limits::max())>(value);
  };
  if (field->is_repeated()) reflection.ClearField(message, field);
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return field->is_repeated() ? reflection.AddDouble(message, field, value)
                                  : reflection.SetDouble(message, field, value);
    case FieldDescriptor::CPPTYPE_INT32: {
      const int32_t number = whole(std::numeric_limits<int32_t>());
      return field->is_repeated() ? reflection.AddInt32(message, field, number)
                                  : reflection.SetInt32(message, field, number);
    }
    default:
      reflection.SetInt64(message, field, whole(std::numeric_limits<int64_t>()));
  }
}

v1::JobSpec BaseOf(const std::string& name) {
  // Quick to plan: nothing is calibrated.
  v1::JobSpec spec = absl::StartsWith(name, "privacy") ? MakeDemoSpec() : MakeNotPrivateSpec();
  v1::PrivacySpec& privacy = *spec.mutable_privacy();
  if (name == "privacy.fixed_noise_multiplier") spec = MakeNotPrivateSpec();
  if (name == "privacy.noise_multiplier") privacy.clear_epsilon();
  const auto stairs = [](v1::StepDecay& step) {
    step.set_every_steps(100);
    step.set_factor(0.5);
  };
  if (absl::StartsWith(name, "privacy.clip_schedule.step")) {
    stairs(*privacy.mutable_clip_schedule()->mutable_step());
  }
  if (absl::StartsWith(name, "privacy.noise_schedule.step")) {
    stairs(*privacy.mutable_noise_schedule()->mutable_step());
  }
  if (absl::StartsWith(name, "train.learning_rate.step")) {
    stairs(*spec.mutable_train()->mutable_learning_rate()->mutable_step());
  }
  if (name == "train.evaluation_every_steps" || absl::StartsWith(name, "checkpoint.")) {
    spec.mutable_data()->set_public_evaluation_file("/data/public.tokens");
  }
  return spec;
}

class NumericFieldTest : public ::testing::TestWithParam<Path> {
 protected:
  void SetUp() override { name_ = NameOf(GetParam()); }

  absl::Status PlanWith(double value) const {
    v1::JobSpec spec = BaseOf(name_);
    Set(GetParam(), value, spec);
    return Plan(spec, MakeDemoDataset(), MakeDemoHost(), {.data_steward = true}).status();
  }

  // By the number's own name, or by that of the message it is in.
  void ExpectRefused(double value) const {
    const absl::Status status = PlanWith(value);
    bool named = false;
    for (const spec::Violation& violation : spec::ViolationsOf(status)) {
      const std::string field = absl::StrReplaceAll(violation.field, {{"[0]", ""}});
      named |= absl::StartsWith(name_, field) && !violation.value.empty();
    }
    EXPECT_TRUE(named) << name_ << " = " << value << ": " << status;
  }

  std::string name_;
};

// Numbers that mean something at 0; others refuse it where 0 is told from nothing given.
const std::set<std::string> kMayBeZero = {
    "privacy.crash_reserve",
    "privacy.fixed_noise_multiplier",
    "train.optimizer.sgd.momentum",
    "train.optimizer.sgd.weight_decay",
    "train.optimizer.adamw.beta1",
    "train.optimizer.adamw.beta2",
    "train.optimizer.adamw.weight_decay",
    "train.learning_rate.warmup_steps",
    "train.learning_rate.cosine.final_fraction",
    "train.learning_rate.linear.final_fraction",
};

// 1e-30 of them is next to the 0 that they may be; of delta it is a promise that few can pay.
// Second moments are squares of gradients, and those may be as short as the least clip norm.
const std::set<std::string> kMayBeTiny = {
    "train.optimizer.adamw.noise_correction.floor",
    "privacy.delta",
    "privacy.crash_reserve",
    "privacy.fixed_noise_multiplier",
    "train.optimizer.sgd.momentum",
    "train.optimizer.sgd.weight_decay",
    "train.optimizer.adamw.beta1",
    "train.optimizer.adamw.beta2",
    "train.optimizer.adamw.weight_decay",
    "train.learning_rate.cosine.final_fraction",
    "train.learning_rate.linear.final_fraction",
};

// As large as integers are: never evaluated, no limit, everything kept, one unit.
const std::set<std::string> kMayBeLargest = {
    "train.evaluation_every_steps",
    "gradient.memory_limit_bytes",
    "checkpoint.keep",
    "checkpoint.keep_best",
    "workers.wrapping.by_size.minimum_parameters",
};

bool IsIn(const std::set<std::string>& names, const std::string& name) {
  return names.find(name) != names.end();
}

TEST_P(NumericFieldTest, LessThanNothingAndNoNumbersAreRefused) {
  for (double value : {-1.0, -HUGE_VAL}) ExpectRefused(value);
  if (!IsReal(*GetParam().back())) return;
  for (double value : {std::nan(""), HUGE_VAL}) ExpectRefused(value);
}

TEST_P(NumericFieldTest, NothingIsRefusedWhereItMeansNothing) {
  // Where 0 is nothing given, the tests of rules say what is required.
  if (!GetParam().back()->has_presence()) return;
  if (IsIn(kMayBeZero, name_)) {
    EXPECT_OK(PlanWith(0));
  } else {
    ExpectRefused(0);
  }
}

TEST_P(NumericFieldTest, FarTooMuchIsRefused) {
  const double value = IsReal(*GetParam().back()) ? 1e30 : HUGE_VAL;
  if (IsIn(kMayBeLargest, name_)) {
    EXPECT_OK(PlanWith(value));
  } else {
    ExpectRefused(value);
  }
}

TEST_P(NumericFieldTest, FarTooLittleIsRefused) {
  if (!IsReal(*GetParam().back())) return;
  if (IsIn(kMayBeTiny, name_)) {
    EXPECT_OK(PlanWith(1e-30));
  } else {
    ExpectRefused(1e-30);
  }
}

INSTANTIATE_TEST_SUITE_P(Specs, NumericFieldTest, ::testing::ValuesIn(NumbersOfSpecs()),
                         [](const auto& info) {
                           return absl::StrReplaceAll(NameOf(info.param), {{".", "_"}});
                         });

}  // namespace
}  // namespace sotto::planning
