#include "client/prepare/prepare.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/prepare/byte_tokenizer.h"
#include "client/prepare/csv.h"
#include "client/prepare/record_reader.h"
#include "client/prepare/token_reader.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "common/dataset/token_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::client {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> TextsOf(absl::string_view content, const RecordReaderOptions& options) {
  auto records = ReadRecords(content, options);
  EXPECT_OK(records);
  std::vector<std::string> texts;
  if (records.ok()) {
    for (const TextRecord& record : *records) texts.push_back(record.prompt + "|" + record.text);
  }
  return texts;
}

TEST(RecordReaderTest, LinesLeaveBlankOnesOutAndTakeWindowsEndings) {
  EXPECT_THAT(TextsOf("a b\r\n\n  \nc", {}), ElementsAre("|a b", "|c"));
}

TEST(RecordReaderTest, PercentRecordsSpanLines) {
  EXPECT_THAT(TextsOf("one\ntwo\n%\n%\nthree %\n%\n", {.format = RecordFormat::kPercent}),
              ElementsAre("|one\ntwo", "|three %"));
}

TEST(RecordReaderTest, JsonlTakesTextOrPromptAndCompletion) {
  EXPECT_THAT(TextsOf("{\"text\": \"a\"}\n\n{\"prompt\": \"q\", \"completion\": \"r\"}\n",
                      {.format = RecordFormat::kJsonl}),
              ElementsAre("|a", "q|r"));
}

TEST(RecordReaderTest, CsvTakesAColumnWithQuotesCommasAndLineBreaks) {
  EXPECT_THAT(TextsOf("id,body\n1,\"a, \"\"b\"\"\nc\"\n2,plain\n",
                      {.format = RecordFormat::kCsv, .column = "body"}),
              ElementsAre("|a, \"b\"\nc", "|plain"));
}

struct BadInput {
  const char* name;
  RecordFormat format;
  const char* content;
  const char* message;
};
class BadInputTest : public ::testing::TestWithParam<BadInput> {};

TEST_P(BadInputTest, NamesTheLineAndNeverTheText) {
  EXPECT_THAT(ReadRecords(GetParam().content, {.format = GetParam().format}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(GetParam().message), Not(HasSubstr("secret")))));
}

INSTANTIATE_TEST_SUITE_P(
    RecordReader, BadInputTest,
    ::testing::Values(BadInput{"NotJson", RecordFormat::kJsonl, "{\"text\": \"a\"}\nsecret\n",
                               "line 2: must be one JSON object"},
                      BadInput{"NoText", RecordFormat::kJsonl, "{\"txt\": \"secret\"}\n",
                               "line 1: field \"text\" is missing"},
                      BadInput{"NotAString", RecordFormat::kJsonl, "{\"text\": 3}\n",
                               "line 1: field \"text\" must be a string"},
                      BadInput{"NoPrompt", RecordFormat::kJsonl, "{\"completion\": \"secret\"}\n",
                               "field \"prompt\" is missing"},
                      BadInput{"NoCompletion", RecordFormat::kJsonl, "{\"prompt\": \"secret\"}\n",
                               "line 1: field \"completion\" is missing"},
                      BadInput{"LabelWithoutClasses", RecordFormat::kJsonl,
                               "{\"text\": \"secret\", \"label\": 1}\n",
                               "line 1: has a \"label\", but --classes"},
                      BadInput{"NoHeader", RecordFormat::kCsv, "", "header"},
                      BadInput{"NoColumn", RecordFormat::kCsv, "a,b\n1,2\n", "column \"text\""},
                      BadInput{"RaggedRow", RecordFormat::kCsv, "text,b\n1,2\nsecret\n",
                               "line 3: has 1 cells, but the header has 2"},
                      BadInput{"OpenQuote", RecordFormat::kCsv, "text\n\"secret\n\n",
                               "line 2: a quote that never ends"},
                      BadInput{"TextAfterQuote", RecordFormat::kCsv, "text\n\"a\"secret\n",
                               "line 2: text after a closing quote"},
                      BadInput{"StrayQuote", RecordFormat::kCsv, "text\nsecret\"\n",
                               "line 2: a quote inside"}),
    [](const auto& info) { return info.param.name; });

TEST(LabelTest, EveryRecordHasOneBelowTheClasses) {
  const RecordReaderOptions options{.format = RecordFormat::kJsonl, .classes = 3};
  ASSERT_OK_AND_ASSIGN(const std::vector<TextRecord> records,
                       ReadRecords("{\"text\": \"a\", \"label\": 2}\n"
                                   "{\"prompt\": \"b\", \"completion\": \"c\", \"label\": 0}\n",
                                   options));
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(records[0].label, 2);
  EXPECT_EQ(records[1].label, 0);
  for (const char* label : {"3", "-1", "1.5", "\"1\"", "null", "18446744073709551615"}) {
    EXPECT_THAT(
        ReadRecords(absl::StrCat("{\"text\": \"secret\", \"label\": ", label, "}"), options),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 AllOf(HasSubstr("line 1: field \"label\" must be a whole number from 0 to 2"),
                       Not(HasSubstr("secret")))))
        << label;
  }
  EXPECT_THAT(ReadRecords("{\"text\": \"a\"}", options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("but is missing")));
}

TEST(ByteTokenizerTest, ThePromptIsSeenButNotScored) {
  const TokenizedRecord record = TokenizeBytes({.prompt = "ab", .text = "\xff"});
  EXPECT_THAT(record.tokens, ElementsAre('a', 'b', 255, 256));
  EXPECT_THAT(record.scored, ElementsAre(0, 0, 1, 1));
}

constexpr char kTokensHeader[] = "{\"tokenizer\": \"t\", \"vocabulary_size\": 10}\n";

TEST(TokenReaderTest, ReadsTokensAndWhatIsScored) {
  ASSERT_OK_AND_ASSIGN(
      TokenizedRecords read,
      ReadTokens(absl::StrCat(kTokensHeader, "{\"tokens\": [3, 9], \"scored\": [0, 1]}\n\n",
                              "{\"tokens\": [0]}\n")));
  EXPECT_EQ(read.tokenizer, "t");
  EXPECT_EQ(read.vocabulary_size, 10);
  ASSERT_EQ(read.records.size(), 2u);
  EXPECT_THAT(read.records[0].tokens, ElementsAre(3, 9));
  EXPECT_THAT(read.records[0].scored, ElementsAre(0, 1));
  EXPECT_THAT(read.records[1].scored, ElementsAre(1));
}

struct BadTokens {
  const char* name;
  const char* line;  // behind the header
  const char* message;
};
class BadTokensTest : public ::testing::TestWithParam<BadTokens> {};

TEST_P(BadTokensTest, NamesTheLineAndTheRule) {
  EXPECT_THAT(
      ReadTokens(absl::StrCat(kTokensHeader, GetParam().line)),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("line 2: "), HasSubstr(GetParam().message), Not(HasSubstr("77")))));
}

INSTANTIATE_TEST_SUITE_P(
    TokenReader, BadTokensTest,
    ::testing::Values(
        BadTokens{"NotJson", "77", "must be one JSON object"},
        BadTokens{"NoTokens", "{\"scored\": [1]}", "field \"tokens\" must be an array"},
        BadTokens{"OutsideVocabulary", "{\"tokens\": [77]}", "whole numbers from 0 to 9"},
        BadTokens{"Negative", "{\"tokens\": [-1]}", "whole numbers from 0 to 9"},
        BadTokens{"Fraction", "{\"tokens\": [1.5]}", "whole numbers from 0 to 9"},
        BadTokens{"Empty", "{\"tokens\": []}", "at least one token"},
        BadTokens{"ScoredTwice", "{\"tokens\": [1], \"scored\": [2]}", "from 0 to 1"},
        BadTokens{"ScoredTooShort", "{\"tokens\": [1, 2], \"scored\": [1]}", "has 1 for 2"},
        BadTokens{"OtherField", "{\"tokens\": [1], \"text77\": 1}", "may only have"}),
    [](const auto& info) { return info.param.name; });

TEST(TokenReaderTest, LabelsNeedClasses) {
  const std::string content = absl::StrCat(kTokensHeader, "{\"tokens\": [3], \"label\": 4}\n");
  ASSERT_OK_AND_ASSIGN(const TokenizedRecords read, ReadTokens(content, /*classes=*/5));
  EXPECT_EQ(read.records[0].label, 4);
  EXPECT_THAT(ReadTokens(content, /*classes=*/4),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("line 2: field \"label\" must be a whole number from 0 to 3")));
  EXPECT_THAT(ReadTokens(content),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("line 2: has a \"label\"")));
}

TEST(TokenReaderTest, TheHeaderIsRequired) {
  for (absl::string_view content :
       {"", "{\"tokens\": [1]}\n", "{\"tokenizer\": \"t\", \"vocabulary_size\": 1}\n",
        "{\"tokenizer\": \"t\", \"vocabulary_size\": 9e99}\n",
        "{\"tokenizer\": 1, \"vocabulary_size\": 10}\n"}) {
    EXPECT_THAT(ReadTokens(content), StatusIs(absl::StatusCode::kInvalidArgument,
                                              HasSubstr("line 1: must be {\"tokenizer\": NAME")));
  }
}

class PrepareTest : public ::testing::Test {
 protected:
  PrepareTest() : directory_(*MakeTempDir(::testing::TempDir() + "/prepare-")) {}

  std::string Write(const std::string& name, absl::string_view content) {
    const std::string path = directory_ + "/" + name;
    EXPECT_OK(AtomicWriteFile(path, content));
    return path;
  }
  PrepareOptions MakeOptions(const std::string& input) {
    PrepareOptions options;
    options.inputs = {input};
    options.output = directory_ + "/out.tokens";
    options.max_length = 4;
    return options;
  }

  const std::string directory_;
};

TEST_F(PrepareTest, OverlongRecordsAreCutAndCounted) {
  ASSERT_OK_AND_ASSIGN(Prepared prepared, Prepare(MakeOptions(Write("in", "abc\nabcd\n"))));
  EXPECT_EQ(prepared.dataset.records, 2);
  EXPECT_EQ(prepared.dataset.truncated_records, 1);
  EXPECT_EQ(prepared.holdout.path, "");
  ASSERT_OK_AND_ASSIGN(auto file, dataset::TokenFile::Open(prepared.dataset.path));
  EXPECT_EQ(file->header().records, 2);
  EXPECT_EQ(file->header().vocabulary_size, 257);
}

TEST_F(PrepareTest, LabelsAndLossMasksReachTheFile) {
  PrepareOptions options =
      MakeOptions(Write("in.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\", \"label\": 1}\n"));
  options.reader = {.format = RecordFormat::kJsonl, .classes = 2};
  ASSERT_OK_AND_ASSIGN(const Prepared prepared, Prepare(options));
  ASSERT_OK_AND_ASSIGN(auto file, dataset::TokenFile::Open(prepared.dataset.path));
  EXPECT_EQ(file->header().classes, 2);
  EXPECT_EQ(file->Label(0), 1);
  std::vector<int64_t> tokens(3);
  std::vector<float> scored(3);
  file->Read(0, absl::MakeSpan(tokens), absl::MakeSpan(scored));
  EXPECT_THAT(tokens, ElementsAre('a', 'b', 256));
  EXPECT_THAT(scored, ElementsAre(0, 1, 1));
}

TEST_F(PrepareTest, EveryNthRecordIsHeldOutAndInNoOtherFile) {
  PrepareOptions options = MakeOptions(Write("in", "a\nb\nc\nd\ne\n"));
  options.holdout_every = 2;
  options.holdout = directory_ + "/public.tokens";
  ASSERT_OK_AND_ASSIGN(Prepared prepared, Prepare(options));
  EXPECT_EQ(prepared.dataset.records, 3);
  EXPECT_EQ(prepared.holdout.records, 2);
  EXPECT_NE(prepared.dataset.sha256, prepared.holdout.sha256);
}

TEST_F(PrepareTest, TokensKeepTheirTokenizerAndMustAllBeOfOne) {
  const std::string input =
      Write("in.jsonl", absl::StrCat(kTokensHeader, "{\"tokens\": [1, 2]}\n"));
  PrepareOptions options = MakeOptions(input);
  options.reader.format = RecordFormat::kTokens;
  ASSERT_OK_AND_ASSIGN(Prepared prepared, Prepare(options));
  ASSERT_OK_AND_ASSIGN(auto file, dataset::TokenFile::Open(prepared.dataset.path));
  EXPECT_EQ(file->header().tokenizer, "t");
  EXPECT_EQ(file->header().vocabulary_size, 10);
  options.inputs.push_back(Write("other.jsonl",
                                 "{\"tokenizer\": \"u\", \"vocabulary_size\": 10}\n"
                                 "{\"tokens\": [1]}\n"));
  EXPECT_THAT(Prepare(options),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("other.jsonl: all inputs"), HasSubstr("u with 10"))));
}

TEST_F(PrepareTest, AWrongInputNamesItsFileAndWritesNothing) {
  PrepareOptions options = MakeOptions(Write("bad.jsonl", "nonsense\n"));
  options.reader.format = RecordFormat::kJsonl;
  EXPECT_THAT(Prepare(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("bad.jsonl: line 1:")));
  EXPECT_THAT(ReadFile(options.output), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(PrepareTest, MissingInputIsNotFound) {
  EXPECT_THAT(Prepare(MakeOptions(directory_ + "/none")),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("none")));
}

TEST_F(PrepareTest, OptionsAreChecked) {
  const std::string input = Write("in", "a\nb\n");
  PrepareOptions short_records = MakeOptions(input);
  short_records.max_length = 1;
  EXPECT_THAT(Prepare(short_records),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--max_length")));
  PrepareOptions one_class = MakeOptions(input);
  one_class.reader.classes = 1;
  EXPECT_THAT(Prepare(one_class), StatusIs(absl::StatusCode::kInvalidArgument,
                                           HasSubstr("--classes must be at least")));
  PrepareOptions no_labels = MakeOptions(input);
  no_labels.reader.classes = 2;
  EXPECT_THAT(Prepare(no_labels),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--format jsonl, tokens")));
  PrepareOptions no_name = MakeOptions(input);
  no_name.holdout_every = 2;
  EXPECT_THAT(Prepare(no_name),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("need each other")));
  PrepareOptions too_rare = MakeOptions(input);
  too_rare.holdout_every = 3;
  too_rare.holdout = directory_ + "/public";
  EXPECT_THAT(Prepare(too_rare),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("leaves no record")));
}

TEST_F(PrepareTest, NoFileOfTheCallReplacesAnother) {
  const std::string input = Write("in", "a\nb\n");
  PrepareOptions same_outputs = MakeOptions(input);
  same_outputs.holdout_every = 2;
  same_outputs.holdout = directory_ + "/./out.tokens";
  EXPECT_THAT(Prepare(same_outputs),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("must be two files")));
  PrepareOptions over_input = MakeOptions(input);
  over_input.output = input;
  EXPECT_THAT(Prepare(over_input),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("must not be an input")));
  EXPECT_THAT(ReadFile(input), IsOkAndHolds("a\nb\n"));
}

}  // namespace
}  // namespace sotto::client
