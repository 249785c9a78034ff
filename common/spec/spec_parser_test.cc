#include "common/spec/spec_parser.h"

#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/spec/violation.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"

namespace sotto::spec {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr char kYaml[] = R"(# A job.
name: fortunes-1
model:
  gpt2: {vocabulary_size: 257, width: 96, layers: 4, heads: 4, max_length: 128, untied_head: true}
  init_seed: 18446744073709551615
data:
  dataset: fortunes
  public_evaluation_file: "/data/held out.tokens"
  lengths: [32, 64, 128]
privacy:
  epsilon: 3
  clip_norm: 1.5e0
  metrics:
    max_loss: .5
train:
  expected_batch_size: 512
  steps: 300
  optimizer:
    adamw: {}
  learning_rate:
    peak: 3e-3
    cosine: {final_fraction: 0.1}
  loss_reduction: LOSS_REDUCTION_SUM
workers: {count: 2, strategy: FULL_SHARD}
)";

constexpr char kJson[] = R"({
  "name": "fortunes-1",
  "model": {"gpt2": {"vocabulary_size": 257, "width": 96, "layers": 4, "heads": 4, "max_length": 128,
                     "untied_head": true},
            "init_seed": 18446744073709551615},
  "data": {"dataset": "fortunes", "public_evaluation_file": "/data/held out.tokens",
           "lengths": [32, 64, 128]},
  "privacy": {"epsilon": 3, "clip_norm": 1.5e0, "metrics": {"max_loss": 0.5}},
  "train": {"expected_batch_size": 512, "steps": 300, "optimizer": {"adamw": {}},
            "learning_rate": {"peak": 3e-3, "cosine": {"final_fraction": 0.1}},
            "loss_reduction": "LOSS_REDUCTION_SUM"},
  "workers": {"count": 2, "strategy": "FULL_SHARD"}
})";

constexpr char kTextProto[] = R"(name: "fortunes-1"
model {
  gpt2 { vocabulary_size: 257 width: 96, layers: 4; heads: 4 max_length: 128 untied_head: true }
  init_seed: 18446744073709551615
}
# Comments are fine.
data < dataset: "for" "tunes" public_evaluation_file: '/data/held out.tokens' lengths: 32 lengths: [64, 128] >
privacy: { epsilon: 3 clip_norm: 1.5e0 metrics { max_loss: .5f } }
train {
  expected_batch_size: 512
  steps: 300
  optimizer { adamw {} }
  learning_rate { peak: 3e-3 cosine { final_fraction: 0.1 } }
  loss_reduction: LOSS_REDUCTION_SUM
}
workers { count: 2 strategy: FULL_SHARD }
)";

std::vector<Violation> ViolationsIn(absl::string_view text, Format format = Format::kYaml) {
  return ViolationsOf(ParseJobSpec(text, format).status());
}

// "line: field rule".
std::vector<std::string> LinesIn(absl::string_view text, Format format = Format::kYaml) {
  std::vector<std::string> lines;
  for (const Violation& violation : ViolationsIn(text, format)) {
    lines.push_back(std::to_string(violation.line) + ": " + violation.field + " " + violation.rule);
  }
  return lines;
}

TEST(ParseJobSpecTest, ReadsEveryKindOfField) {
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec spec, ParseJobSpec(kYaml, Format::kYaml));
  EXPECT_EQ(spec.name(), "fortunes-1");
  EXPECT_EQ(spec.model().gpt2().vocabulary_size(), 257);
  EXPECT_TRUE(spec.model().gpt2().untied_head());
  EXPECT_EQ(spec.model().init_seed(), 18446744073709551615u);
  EXPECT_EQ(spec.data().public_evaluation_file(), "/data/held out.tokens");
  EXPECT_THAT(spec.data().lengths(), ElementsAre(32, 64, 128));
  EXPECT_EQ(spec.privacy().epsilon(), 3);
  EXPECT_EQ(spec.privacy().clip_norm(), 1.5);
  EXPECT_FALSE(spec.privacy().has_noise_multiplier());
  EXPECT_EQ(spec.privacy().metrics().max_loss(), 0.5);
  EXPECT_EQ(spec.train().steps(), 300);
  EXPECT_TRUE(spec.train().optimizer().has_adamw());
  EXPECT_EQ(spec.train().learning_rate().cosine().final_fraction(), 0.1);
  EXPECT_EQ(spec.train().loss_reduction(), v1::LOSS_REDUCTION_SUM);
  EXPECT_EQ(spec.workers().strategy(), v1::FULL_SHARD);
}

TEST(ParseJobSpecTest, ThreeFormatsSayTheSame) {
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec yaml, ParseJobSpec(kYaml, Format::kYaml));
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec json, ParseJobSpec(kJson, Format::kJson));
  ASSERT_OK_AND_ASSIGN(const v1::JobSpec text, ParseJobSpec(kTextProto, Format::kTextProto));
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(yaml, json)) << json.DebugString();
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(yaml, text)) << text.DebugString();
}

// In the message they would be unset: scale 1, 64 tokens.
TEST(ParseJobSpecTest, ZerosThatWouldBecomeAnotherNumberAreRefused) {
  const std::string before = "inference:\n  edit: {projections: p, scale: ";
  for (const char* zero : {"0", "0.0", "-0", "0e3", "1e-999"}) {
    EXPECT_THAT(LinesIn(before + zero + "}\n"),
                ElementsAre("2: inference.edit.scale must not be 0; it may be left out"))
        << zero;
  }
  EXPECT_THAT(LinesIn("inference { edit { projections: 'p' scale: 0f } }", Format::kTextProto),
              SizeIs(1));
  EXPECT_THAT(
      LinesIn(R"({"inference": {"generate": {"max_new_tokens": 0}}})", Format::kJson),
      ElementsAre("1: inference.generate.max_new_tokens must not be 0; it may be left out"));
  EXPECT_THAT(LinesIn(before + "1e-30}\n"), IsEmpty());
  EXPECT_THAT(LinesIn("inference: {edit: {projections: p}, batch_size: 0}\n"), IsEmpty());
}

TEST(ParseJobSpecTest, FormatFollowsTheFileEnding) {
  EXPECT_EQ(FormatOf("a.json"), Format::kJson);
  EXPECT_EQ(FormatOf("a.textproto"), Format::kTextProto);
  EXPECT_EQ(FormatOf("a.yaml"), Format::kYaml);
  EXPECT_EQ(FormatOf("-"), Format::kYaml);
}

TEST(ParseJobSpecTest, ReportsEverythingAtOnceWithLines) {
  constexpr char kBroken[] = R"(name: 17
nmae: x
model:
  gpt2:
    vocabulary_size: many
    width: 1.5
    layers: 99999999999
    heads: "4"
    untied_head: yes
data: fortunes
privacy:
  epsilon: .nan
  delta: 1e999
  epsilon: 2
train:
  steps:
  optimizer: {adamw: {}, sgd: {}}
  loss_reduction: MEAN
workers: [2]
)";
  EXPECT_THAT(
      LinesIn(kBroken),
      UnorderedElementsAre(
          "1: name must be a string", HasSubstr("2: nmae is not a field; there are name, model"),
          "5: model.gpt2.vocabulary_size must be an integer of 32 bits",
          "6: model.gpt2.width must be an integer of 32 bits",
          "7: model.gpt2.layers must be an integer of 32 bits",
          "8: model.gpt2.heads must be an integer of 32 bits",
          "9: model.gpt2.untied_head must be true or false", "10: data must be a mapping of fields",
          "12: privacy.epsilon must be a finite number",
          "13: privacy.delta must be a finite number",
          "14: privacy.epsilon is given twice, first in line 12",
          HasSubstr(": train.steps must be an integer"),
          "17: train.optimizer.sgd excludes adamw: give one of them",
          HasSubstr("18: train.loss_reduction must be one of LOSS_REDUCTION_UNSPECIFIED"),
          "19: workers must be a mapping of fields"));
}

TEST(ParseJobSpecTest, ValuesAreShown) {
  const std::vector<Violation> violations =
      ViolationsIn("train: {steps: x, expected_batch_size: \"512\"}");
  ASSERT_THAT(violations, SizeIs(2));
  EXPECT_EQ(violations[0].value, "x");
  EXPECT_EQ(violations[1].value, "\"512\"");
  EXPECT_THAT(ParseJobSpec("train: {steps: x}", Format::kYaml),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       "line 1: train.steps must be an integer of 64 bits, but is x"));
}

TEST(ParseJobSpecTest, JsonViolationsHaveTheirLines) {
  constexpr char kBroken[] = R"({
  "name": null,
  "train": {
    "steps": 1.5,
    "steps": 2,
    "pad_to_cap": 1
  },
  "data": {"lengths": [1,
    "2"], "dataset": true},
  "extra": {}
})";
  EXPECT_THAT(LinesIn(kBroken, Format::kJson),
              UnorderedElementsAre(
                  "2: name must be a string", "4: train.steps must be an integer of 64 bits",
                  "5: train.steps is given twice, first in line 4",
                  "6: train.pad_to_cap must be true or false",
                  "9: data.lengths[1] must be an integer of 32 bits",
                  "9: data.dataset must be a string", HasSubstr("10: extra is not a field")));
}

TEST(ParseJobSpecTest, TextProtoViolationsHaveTheirLines) {
  constexpr char kBroken[] = R"(name: fortunes
train {
  steps: nan
  steps: 2
  expected_batch_size: -inf
}
data { lengths: 1 lengths: true dataset: 3 }
)";
  EXPECT_THAT(LinesIn(kBroken, Format::kTextProto),
              UnorderedElementsAre("1: name must be a string",
                                   "3: train.steps must be an integer of 64 bits",
                                   "4: train.steps is given twice, first in line 3",
                                   "5: train.expected_batch_size must be a finite number",
                                   "7: data.lengths must be an integer of 32 bits",
                                   "7: data.dataset must be a string"));
}

struct BadDocument {
  std::string name;
  Format format;
  std::string text;
  int line;
  std::string rule;
};

class BadDocumentTest : public ::testing::TestWithParam<BadDocument> {};

TEST_P(BadDocumentTest, IsRefusedWithItsLine) {
  const BadDocument& bad = GetParam();
  const std::vector<Violation> violations = ViolationsIn(bad.text, bad.format);
  ASSERT_THAT(violations, ::testing::Not(IsEmpty()));
  EXPECT_THAT(violations[0].rule, HasSubstr(bad.rule));
  EXPECT_EQ(violations[0].line, bad.line);
}

std::string Deep(const std::string& open, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) text += open;
  return text;
}

INSTANTIATE_TEST_SUITE_P(
    Documents, BadDocumentTest,
    ::testing::Values(
        BadDocument{"EmptyYaml", Format::kYaml, "", 1, "must be a job spec"},
        BadDocument{"OnlyAComment", Format::kYaml, "# nothing\n", 1, "must be a job spec"},
        BadDocument{"MalformedYaml", Format::kYaml, "name: a\ntrain: {steps: 1\n", 3,
                    "must be YAML"},
        BadDocument{"BadIndent", Format::kYaml, "train:\n  steps: 1\n expected_batch_size: 2\n", 3,
                    "must be YAML"},
        BadDocument{"TwoDocuments", Format::kYaml, "name: a\n---\nname: b\n", 2,
                    "must be one document"},
        BadDocument{"Anchor", Format::kYaml, "name: &x a\n", 1, "must not use anchors"},
        BadDocument{"Alias", Format::kYaml, "train: &x {steps: 1}\nmodel: *x\n", 1,
                    "must not use anchors"},
        BadDocument{"Tag", Format::kYaml, "name: !!str a\n", 1, "must not use tags"},
        BadDocument{"ScalarDocument", Format::kYaml, "hello\n", 1, "must be a mapping"},
        BadDocument{"ListDocument", Format::kYaml, "- a\n", 1, "must be a mapping"},
        BadDocument{"MappingAsKey", Format::kYaml, "? {a: 1}\n: 2\n", 1, "key must be a name"},
        BadDocument{"DeepYaml", Format::kYaml, Deep("[", 100), 1,
                    "must be YAML: nested too deeply"},
        BadDocument{"EmptyJson", Format::kJson, "", 1, "must be JSON"},
        BadDocument{"TrailingComma", Format::kJson, "{\n\"name\": \"a\",\n}", 3, "must be JSON"},
        BadDocument{"TrailingData", Format::kJson, "{}\n{}", 2, "must be JSON"},
        BadDocument{"JsonNaN", Format::kJson, "{\"privacy\":\n {\"epsilon\": NaN}}", 2,
                    "must be JSON"},
        BadDocument{"JsonComment", Format::kJson, "{} // x", 1, "must be JSON"},
        BadDocument{"JsonNull", Format::kJson, "null", 1, "must be a job spec"},
        BadDocument{"DeepJson", Format::kJson, Deep("{\"a\":", 100), 1, "nested too deeply"},
        BadDocument{"EmptyTextProto", Format::kTextProto, "", 1, "must be a job spec"},
        BadDocument{"UnclosedMessage", Format::kTextProto, "train {\n steps: 1\n", 3, "expected"},
        BadDocument{"MissingColon", Format::kTextProto, "name \"a\"", 1, "expected ':'"},
        BadDocument{"DeepTextProto", Format::kTextProto, Deep("a {", 100), 1, "less nesting"},
        BadDocument{"TooLong", Format::kYaml, std::string(2 << 20, '#'), 0, "at most"}),
    [](const ::testing::TestParamInfo<BadDocument>& info) { return info.param.name; });

TEST(ParseJobSpecTest, BytesThatAreNoTextAreRefusedWithoutACrash) {
  for (Format format : {Format::kYaml, Format::kJson, Format::kTextProto}) {
    std::string bytes;
    for (int i = 0; i < 1000; ++i) bytes.push_back(static_cast<char>(i * 37 + i / 7));
    EXPECT_FALSE(ParseJobSpec(bytes, format).ok());
    EXPECT_FALSE(ParseJobSpec("name: \"\xff\xfe\"\ntrain: \xff", format).ok());
  }
}

TEST(ViolationTest, SurvivesTheStatus) {
  const std::vector<Violation> violations = {{"a.b", "must be positive", "-1", 3},
                                             {"", "is \"odd\"\n", "", 0}};
  EXPECT_EQ(ViolationsOf(ViolationsError(violations)), violations);
  EXPECT_THAT(ViolationsOf(absl::InvalidArgumentError("other")), IsEmpty());
  EXPECT_THAT(ViolationsError(violations),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("line 3: a.b must be positive, but is -1"),
                             HasSubstr("the spec is \"odd\""))));
}

}  // namespace
}  // namespace sotto::spec
