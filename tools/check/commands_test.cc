// What the commands say of arguments, on the real command line.
#include <filesystem>
#include <string>
#include <vector>

#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tools/check/command.h"
#include "tools/check/preset.h"
#include "tools/check/program.h"

namespace sotto::check {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

struct Said {
  int code = 0;
  std::string text;  // on stderr
};

Said RunCommand(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "sotto-check");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  ::testing::internal::CaptureStderr();
  const int code = RunProgram(static_cast<int>(argv.size()), argv.data());
  return {code, ::testing::internal::GetCapturedStderr()};
}

TEST(CommandsTest, NumbersOutOfRangeAreRefusedByOptionRuleAndValue) {
  struct Case {
    const char* command;
    const char* option;
    const char* value;
    const char* rule;
  };
  const Case cases[] = {
      {"modes", "--clip_norm", "0", "[1e-12, 1e+12]"},
      {"modes", "--clip_norm", "nan", "[1e-12, 1e+12]"},
      {"modes", "--noise_multiplier", "inf", "[0, 1e+06]"},
      {"modes", "--noise_multiplier", "-1", "[0, 1e+06]"},
      {"modes", "--learning_rate", "inf", "[1e-12, 1e+06]"},
      {"modes", "--learning_rate", "0", "[1e-12, 1e+06]"},
      {"modes", "--batch", "1e9", "[0.01, 524288]"},
      {"profile", "--clip_norm", "-2", "[1e-12, 1e+12]"},
      {"world", "--noise_multiplier", "nan", "[0, 1e+06]"},
      {"equality", "--learning_rate", "nan", "[1e-12, 1e+06]"},
      {"equality", "--same_learning_rate", "0", "[1e-12, 1e+06]"},
      {"equality", "--clip_norm", "nan", "[1e-12, 1e+12]"},
  };
  for (const Case& c : cases) {
    const Said said = RunCommand({c.command, c.option, c.value});
    EXPECT_EQ(said.code, kFailed) << c.option << " " << c.value;
    EXPECT_THAT(said.text, HasSubstr(std::string(c.option) + ": must be in " + c.rule +
                                     ", but is " + c.value));
    EXPECT_LT(said.text.size(), 200) << said.text;
  }
}

TEST(CommandsTest, AModeIsNotComparedWithItself) {
  for (const char* command : {"modes", "profile"}) {
    const Said said = RunCommand({command, "--modes", "flash,no_dp,flash"});
    EXPECT_EQ(said.code, kFailed);
    EXPECT_THAT(said.text, HasSubstr("--modes names flash twice"));
  }
  ASSERT_OK_AND_ASSIGN(const std::vector<ModeChoice> modes,
                       ParseModes({"flash", "flash+deferred", "flash@2"}));
  EXPECT_EQ(modes.size(), 3);
}

TEST(CommandsTest, GradientsSayThatNoDpDoesNotClip) {
  const std::string folder = *MakeTempDir(::testing::TempDir() + "/commands-");
  const std::string model = "tests/golden/models/gpt2_tied";
  const auto run = [&](const std::string& mode, std::vector<std::string> more) {
    std::vector<std::string> arguments = {"gradients",
                                          "--model",
                                          model,
                                          "--batch",
                                          model + "/batch.safetensors",
                                          "--mode",
                                          mode,
                                          "--out",
                                          folder + "/out.safetensors"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunCommand(arguments);
  };
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{}, std::vector<std::string>{"--clip_norm", "1"}}) {
    const Said plain = run("no_dp", more);
    EXPECT_EQ(plain.code, kAgrees) << plain.text;
    EXPECT_THAT(plain.text, AllOf(HasSubstr("no_dp clips nothing"), HasSubstr("unclipped")));
    EXPECT_EQ(plain.text.find("--clip_norm 1 ") == std::string::npos, more.empty());
  }
  const Said clipped = run("flash", {"--clip_norm", "1"});
  EXPECT_EQ(clipped.code, kAgrees);
  EXPECT_THAT(clipped.text, Not(HasSubstr("clips nothing")));
  const Said without = run("flash", {});
  EXPECT_EQ(without.code, kFailed);
  EXPECT_THAT(without.text, HasSubstr("--mode flash needs --clip_norm"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace sotto::check
