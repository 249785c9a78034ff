#include "common/dataset/prompt_file.h"

#include <string>

#include "common/base/status_matchers.h"
#include "common/crypto/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sotto::dataset {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(PromptFileTest, ReadsTokensAndTextsInOrder) {
  const std::string content = "{\"tokens\": [5, 300]}\n\n{\"text\": \"a\\u00ff\"}\n";
  ASSERT_OK_AND_ASSIGN(const PromptFile file, ParsePrompts(content, PromptKind::kPlain));
  ASSERT_EQ(file.prompts.size(), 2);
  EXPECT_THAT(file.prompts[0].tokens, ElementsAre(5, 300));
  EXPECT_THAT(file.prompts[1].tokens, ElementsAre('a', 0xc3, 0xbf));
  EXPECT_THAT(file.prompts[1].continuation, IsEmpty());
  EXPECT_TRUE(file.has_text);
  EXPECT_EQ(file.largest_token, 300);
  EXPECT_EQ(file.longest, 3);
  EXPECT_EQ(file.sha256, crypto::HexSha256(content));
}

TEST(PromptFileTest, ContinuationsCountInLengthAndTokens) {
  ASSERT_OK_AND_ASSIGN(const PromptFile file,
                       ParsePrompts("{\"tokens\": [1], \"continuation_tokens\": [7, 2]}",
                                    PromptKind::kWithContinuation));
  EXPECT_THAT(file.prompts[0].continuation, ElementsAre(7, 2));
  EXPECT_FALSE(file.has_text);
  EXPECT_EQ(file.largest_token, 7);
  EXPECT_EQ(file.longest, 3);
}

struct BadPrompts {
  const char* name;
  const char* content;
  const char* message;
  PromptKind kind = PromptKind::kPlain;
};
class BadPromptsTest : public ::testing::TestWithParam<BadPrompts> {};

TEST_P(BadPromptsTest, AreRefusedWithTheLineAndTheRule) {
  EXPECT_THAT(ParsePrompts(GetParam().content, GetParam().kind),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(GetParam().message)));
}

INSTANTIATE_TEST_SUITE_P(
    PromptFile, BadPromptsTest,
    ::testing::Values(
        BadPrompts{"Empty", "\n \n", "holds no prompts"},
        BadPrompts{"NotJson", "{\"text\": \"a\"}\nb\n", "line 2: must be one JSON object"},
        BadPrompts{"UnknownField", "{\"text\": \"a\", \"label\": 1}",
                   "line 1: unknown field \"label\""},
        BadPrompts{"ContinuationOfAPlainPrompt", "{\"text\": \"a\", \"continuation\": \"b\"}",
                   "line 1: unknown field \"continuation\""},
        BadPrompts{"NoContinuation", "{\"text\": \"a\"}",
                   "line 1: must have either \"continuation_tokens\" or \"continuation\"",
                   PromptKind::kWithContinuation},
        BadPrompts{"Both", "{\"text\": \"a\", \"tokens\": [1]}",
                   "line 1: must have either \"tokens\" or \"text\""},
        BadPrompts{"Twice", "{\"tokens\": [1], \"tokens\": [2]}",
                   "line 1: field \"tokens\" is given twice"},
        BadPrompts{"Neither", "{}", "line 1: must have either \"tokens\" or \"text\""},
        BadPrompts{"NoTokens", "{\"tokens\": []}", "\"tokens\" must hold at least one token"},
        BadPrompts{"NegativeToken", "{\"tokens\": [-1]}", "whole numbers from 0 to 2147483647"},
        BadPrompts{"HugeToken", "{\"tokens\": [2147483648]}", "whole numbers from 0 to 2147483647"},
        BadPrompts{"Fraction", "{\"tokens\": [1.5]}", "whole numbers from 0 to 2147483647"},
        BadPrompts{"TextIsANumber", "{\"text\": 1}", "\"text\" must be a string"}),
    [](const auto& info) { return info.param.name; });

TEST(PromptFileTest, MissingFilesAreNotFound) {
  EXPECT_THAT(ReadPrompts("/nowhere/prompts", PromptKind::kPlain),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("/nowhere/prompts")));
}

}  // namespace
}  // namespace sotto::dataset
