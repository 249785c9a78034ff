// What users do wrong: every refusal has an exit code, names field, rule and value, and loses
// nothing.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "common/base/files.h"
#include "common/base/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/cli/cli_process.h"
#include "tests/integration/testing/coordinator_process.h"

namespace sotto::integration {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// A spec that is admitted.
constexpr char kSpec[] = R"(
name: good
model: {gpt2: {vocabulary_size: 257, width: 16, layers: 1, heads: 2, max_length: 32}}
data: {dataset: notes}
privacy: {epsilon: 3, clip_norm: 1}
train: {expected_batch_size: 16, steps: 20, learning_rate: {peak: 0.001}}
workers: {count: 2, strategy: FULL_SHARD}
gradient: {mode: per_example}
)";

// One coordinator for a test; its workers end at once.
class BadInputTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(folder_, MakeTempDir("/tmp/sotto-bad-"));
    absl::StatusOr<CoordinatorProcess> coordinator = CoordinatorProcess::Start(
        {.state_dir = folder_ + "/state", .slots = 2, .worker_binary = "/bin/false"});
    ASSERT_OK(coordinator);
    coordinator_.emplace(*std::move(coordinator));
    std::string text;
    for (int record = 0; record < 300; ++record)
      absl::StrAppend(&text, "note number ", record, "\n");
    const std::string notes = Write("notes.txt", text);
    Expect(0, {"data", "prepare", notes, "--format", "lines", "--max_length", "32", "--out",
               folder_ + "/notes.tokens"});
  }
  void TearDown() override {
    if (coordinator_.has_value()) {
      // Whatever was refused before: the coordinator lives and its ledger holds.
      Expect(0, {"ledger", "verify"});
      coordinator_->Kill();
    }
    std::filesystem::remove_all(folder_);
  }

  // Runs the program against the coordinator and expects its exit code; gives what it wrote.
  std::string Expect(int code, std::vector<std::string> arguments) {
    const std::string command = absl::StrJoin(arguments, " ");
    arguments.push_back("--address=" + coordinator_->address());
    const absl::StatusOr<CliOutcome> outcome = RunCli(folder_, std::move(arguments));
    EXPECT_OK(outcome) << command;
    if (!outcome.ok()) return "";
    EXPECT_EQ(outcome->code, code) << command << "\n" << outcome->text;
    return outcome->text;
  }
  std::string Write(const std::string& name, const std::string& content) {
    const std::string path = folder_ + "/" + name;
    EXPECT_OK(AtomicWriteFile(path, content));
    return path;
  }
  // Registers `file` as "notes".
  std::string AddNotes(int code, const std::string& file, const std::string& max_records = "400") {
    return Expect(code, {"dataset", "add", "notes", file, "--max_records", max_records, "--epsilon",
                         "8", "--delta", "1e-6"});
  }
  std::string AddNotes() { return AddNotes(0, folder_ + "/notes.tokens"); }
  // Submits kSpec with `from` replaced by `to`.
  std::string SubmitWith(int code, const std::string& from, const std::string& to) {
    const std::string spec = absl::StrReplaceAll(kSpec, {{from, to}});
    EXPECT_NE(spec, kSpec);
    return Expect(code, {"submit", Write("job.yaml", spec)});
  }
  std::string Jobs() { return Expect(0, {"list"}); }

  std::string folder_;
  std::optional<CoordinatorProcess> coordinator_;
};

TEST_F(BadInputTest, TheSpecThatTheOthersChangeIsAdmitted) {
  AddNotes();
  EXPECT_THAT(Expect(0, {"submit", Write("job.yaml", kSpec)}), HasSubstr("job-1"));
  EXPECT_THAT(Jobs(), HasSubstr("job-1"));
}

TEST_F(BadInputTest, MalformedYamlNamesItsLine) {
  EXPECT_THAT(Expect(2, {"submit", Write("job.yaml", "name: x\nmodel: {gpt2: {width: 16\n")}),
              AllOf(HasSubstr("job.yaml"), HasSubstr("line")));
  EXPECT_THAT(Expect(2, {"submit", Write("job.json", "{\"name\": \"x\",, }")}),
              HasSubstr("line 1"));
}

TEST_F(BadInputTest, DuplicateAndUnknownKeysAreNamedTogether) {
  const std::string said = Expect(
      2,
      {"submit", Write("job.yaml", "name: x\nname: y\nprivacy:\n  epsilon: 3\n  epsilonn: 4\n")});
  EXPECT_THAT(said, AllOf(HasSubstr("line 2"), HasSubstr("name"), HasSubstr("line 5"),
                          HasSubstr("epsilonn")));
}

TEST_F(BadInputTest, TenBrokenRulesAreReportedAtOnce) {
  AddNotes();
  const std::string said = Expect(2, {"submit", Write("job.yaml", R"(
name: Not_A_Name
model: {gpt2: {vocabulary_size: 1, width: 15, layers: 0, heads: 2, max_length: -4}}
data: {dataset: notes}
privacy: {epsilon: -3, clip_norm: 0, crash_reserve: 2}
train: {expected_batch_size: 0, steps: -20, learning_rate: {peak: -1}}
workers: {count: -2}
gradient: {mode: magic}
)")});
  for (const char* field : {"name", "model.gpt2.vocabulary_size", "model.gpt2.layers",
                            "model.gpt2.max_length", "privacy.epsilon", "privacy.clip_norm",
                            "privacy.crash_reserve", "train.expected_batch_size", "train.steps",
                            "train.learning_rate.peak", "workers.count", "gradient.mode"}) {
    EXPECT_THAT(said, HasSubstr(field));
  }
  EXPECT_THAT(said, HasSubstr("magic"));
  EXPECT_THAT(Jobs(), Not(HasSubstr("job-1")));
}

TEST_F(BadInputTest, AnUnreachableEpsilonIsRefused) {
  AddNotes();
  EXPECT_THAT(SubmitWith(2, "epsilon: 3", "epsilon: 1.0e-12"),
              AllOf(HasSubstr("privacy.epsilon"), HasSubstr("1e-12")));
  EXPECT_THAT(Jobs(), Not(HasSubstr("job-1")));
}

TEST_F(BadInputTest, MoreWorkersThanSlotsAreRefused) {
  AddNotes();
  EXPECT_THAT(SubmitWith(2, "count: 2", "count: 3"),
              AllOf(HasSubstr("workers.count"), HasSubstr("2"), HasSubstr("3")));
}

TEST_F(BadInputTest, UnknownDatasetsAndMissingFilesAreNotFound) {
  EXPECT_THAT(Expect(7, {"submit", Write("job.yaml", kSpec)}), HasSubstr("notes"));
  EXPECT_THAT(AddNotes(7, folder_ + "/missing.tokens"), HasSubstr("missing.tokens"));
  EXPECT_THAT(Expect(7, {"dataset", "show", "notes"}), HasSubstr("notes"));
  EXPECT_THAT(Expect(7, {"get", "job-77"}), HasSubstr("job-77"));
}

TEST_F(BadInputTest, ATruncatedFileIsRefusedAndNotRegistered) {
  const std::string path = folder_ + "/notes.tokens";
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 3);
  EXPECT_THAT(AddNotes(2, path), HasSubstr("truncated"));
  Expect(7, {"dataset", "show", "notes"});
}

TEST_F(BadInputTest, TokensOutOfRangeAreRefused) {
  ASSERT_OK_AND_ASSIGN(std::string bytes, ReadFile(folder_ + "/notes.tokens"));
  // "note" as little-endian 16-bit tokens; the n becomes 0xffff.
  const size_t at = bytes.find(std::string("n\0o\0t\0e\0", 8));
  ASSERT_NE(at, std::string::npos);
  bytes[at] = bytes[at + 1] = '\xff';
  EXPECT_THAT(AddNotes(2, Write("wrong.tokens", bytes)),
              AllOf(HasSubstr("65535"), HasSubstr("257")));
  Expect(7, {"dataset", "show", "notes"});
}

TEST_F(BadInputTest, MoreRecordsThanDeclaredAreRefused) {
  EXPECT_THAT(AddNotes(2, folder_ + "/notes.tokens", /*max_records=*/"299"),
              AllOf(HasSubstr("max_records"), HasSubstr("299"), HasSubstr("300")));
  Expect(7, {"dataset", "show", "notes"});
}

TEST_F(BadInputTest, NamesAndContentsAreRegisteredOnce) {
  AddNotes();
  EXPECT_THAT(AddNotes(2, folder_ + "/notes.tokens"), HasSubstr("notes"));
  EXPECT_THAT(Expect(2, {"dataset", "add", "again", folder_ + "/notes.tokens", "--max_records",
                         "400", "--epsilon", "8", "--delta", "1e-6"}),
              HasSubstr("notes"));
  Expect(7, {"dataset", "show", "again"});
}

TEST_F(BadInputTest, BudgetsThatMakeNoSenseAreRefused) {
  EXPECT_THAT(Expect(2, {"dataset", "add", "Notes!", folder_ + "/notes.tokens", "--max_records",
                         "400", "--epsilon", "-8", "--delta", "2"}),
              AllOf(HasSubstr("name"), HasSubstr("budget.epsilon"), HasSubstr("-8"),
                    HasSubstr("budget.delta"), HasSubstr("2")));
}

TEST_F(BadInputTest, AJobOverTheBudgetIsRefusedWithNumbersAndRecorded) {
  AddNotes();
  const std::string said = SubmitWith(6, "epsilon: 3", "epsilon: 9");
  EXPECT_THAT(said, AllOf(HasSubstr("notes"), HasSubstr("8")));
  EXPECT_THAT(Expect(0, {"ledger", "show"}), HasSubstr("REFUSED"));
  EXPECT_THAT(Jobs(), Not(HasSubstr("job-1")));
  // The budget is whole: a job that fits is admitted.
  Expect(0, {"submit", Write("job.yaml", kSpec)});
}

TEST_F(BadInputTest, ARequestIdOfAnotherSpecIsRefused) {
  AddNotes();
  Expect(0, {"submit", Write("job.yaml", kSpec), "--request_id", "run-1"});
  EXPECT_THAT(Expect(0, {"submit", folder_ + "/job.yaml", "--request_id", "run-1"}),
              HasSubstr("job-1"));
  const std::string other = absl::StrReplaceAll(kSpec, {{"steps: 20", "steps: 21"}});
  EXPECT_THAT(Expect(2, {"submit", Write("other.yaml", other), "--request_id", "run-1"}),
              HasSubstr("run-1"));
  EXPECT_THAT(Jobs(), Not(HasSubstr("job-2")));
}

TEST_F(BadInputTest, CallersOverTcpReadAndChangeNothing) {
  AddNotes();
  // A second coordinator, as the first has no port. Its log names the one it got.
  const std::string state = folder_ + "/remote";
  ASSERT_OK_AND_ASSIGN(CoordinatorProcess remote,
                       CoordinatorProcess::Start({.state_dir = state,
                                                  .slots = 2,
                                                  .extra_flags = {"--listen=127.0.0.1:0"},
                                                  .worker_binary = "/bin/false"}));
  ASSERT_OK_AND_ASSIGN(const std::string log, ReadFile(state + ".coordinator.log"));
  const size_t at = log.find("127.0.0.1:");
  ASSERT_NE(at, std::string::npos) << log;
  const std::string address = log.substr(at, log.find_first_not_of("0123456789.:", at) - at);
  auto run = [&](std::vector<std::string> arguments) {
    arguments.push_back("--address=" + address);
    const absl::StatusOr<CliOutcome> outcome = RunCli(folder_, std::move(arguments));
    EXPECT_OK(outcome);
    return outcome.ok() ? *outcome : CliOutcome();
  };
  EXPECT_EQ(run({"list"}).code, 0);
  EXPECT_EQ(run({"dataset", "list"}).code, 0);
  const CliOutcome submitted = run({"submit", Write("job.yaml", kSpec)});
  EXPECT_EQ(submitted.code, 3);
  EXPECT_THAT(submitted.text, HasSubstr("may only read"));
  EXPECT_EQ(run({"cancel", "job-1"}).code, 3);
  EXPECT_EQ(run({"logs", "job-1", "--steward"}).code, 3);
  EXPECT_EQ(run({"dataset", "add", "notes", folder_ + "/notes.tokens", "--max_records", "400",
                 "--epsilon", "8", "--delta", "1e-6"})
                .code,
            3);
  remote.Kill();
}

TEST_F(BadInputTest, NotPrivateJobsOnBudgetedDataNeedTheStewardFlag) {
  AddNotes();
  EXPECT_THAT(SubmitWith(3, "{epsilon: 3, clip_norm: 1}", "{not_private: true}"),
              HasSubstr("--steward"));
}

TEST_F(BadInputTest, EvaluationIsOnDataWithoutABudget) {
  AddNotes();
  Expect(0, {"data", "prepare", folder_ + "/notes.txt", "--max_length", "16", "--out",
             folder_ + "/public.tokens"});
  Expect(0, {"dataset", "add", "public", folder_ + "/public.tokens", "--max_records", "300",
             "--no_budget"});
  const auto evaluate_on = [&](int code, const std::string& file) {
    const std::string data =
        absl::StrCat("data: {dataset: notes, public_evaluation_file: ", folder_, "/", file, "}");
    return SubmitWith(code, "data: {dataset: notes}", data);
  };
  EXPECT_THAT(evaluate_on(2, "notes.tokens"),
              AllOf(HasSubstr("data.public_evaluation_file"), HasSubstr("\"notes\"")));
  EXPECT_THAT(evaluate_on(0, "public.tokens"), HasSubstr("job-1"));
}

TEST_F(BadInputTest, StateIsItsOwnersAlone) {
  namespace fs = std::filesystem;
  for (const char* name : {"/state", "/state/sotto.db"}) {
    EXPECT_EQ(
        fs::status(folder_ + name).permissions() & (fs::perms::group_all | fs::perms::others_all),
        fs::perms::none)
        << name;
  }
}

}  // namespace
}  // namespace sotto::integration
