// sotto dataset: registers data with its budget, and shows what is left.
#include <filesystem>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cli/table.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"

namespace sotto::cli {
namespace {

struct AddOptions {
  std::string name;
  std::string path;
  int64_t max_records = 0;
  double epsilon = 0;
  double delta = 0;
  std::string adjacency = "add_or_remove_one";
  bool no_budget = false;
};

std::vector<std::string> Row(const v1::Dataset& dataset) {
  const auto number = [&](double value) {
    return dataset.budgeted() ? absl::StrFormat("%.4g", value) : std::string("-");
  };
  return {dataset.name(),
          absl::StrCat(dataset.max_records()),
          number(dataset.budget().epsilon()),
          number(dataset.budget().delta()),
          number(dataset.spent_epsilon()),
          number(dataset.reserved_epsilon()),
          number(dataset.left_epsilon())};
}

Table MakeTable() {
  return Table({"DATASET", "MAX RECORDS", "EPSILON", "DELTA", "SPENT", "RESERVED", "LEFT"});
}

void Print(const v1::Dataset& dataset, Context& context) {
  if (context.IsMachineReadable()) {
    context.PrintJson(dataset);
    return;
  }
  Table table = MakeTable();
  table.AddRow(Row(dataset));
  context.out << table.ToString() << "file " << dataset.path() << "\nsha256 " << dataset.sha256()
              << std::endl;
}

absl::Status Add(const AddOptions& options, Context& context) {
  v1::RegisterDatasetRequest request;
  request.set_name(options.name);
  request.set_path(std::filesystem::absolute(options.path).lexically_normal().string());
  request.set_max_records(options.max_records);
  request.set_no_budget(options.no_budget);
  if (!options.no_budget) {
    request.mutable_budget()->set_epsilon(options.epsilon);
    request.mutable_budget()->set_delta(options.delta);
    request.mutable_budget()->set_adjacency(options.adjacency);
    request.mutable_budget()->set_privacy_unit("record");
  }
  ASSIGN_OR_RETURN(Session session, context.ConnectOrStart());
  ASSIGN_OR_RETURN(const v1::Dataset dataset, session.client->RegisterDataset(request));
  Print(dataset, context);
  return absl::OkStatus();
}

absl::Status List(Context& context) {
  ASSIGN_OR_RETURN(Session session, context.ConnectOrStart());
  Table table = MakeTable();
  v1::ListDatasetsRequest request;
  v1::ListDatasetsResponse all;
  do {
    ASSIGN_OR_RETURN(const v1::ListDatasetsResponse page, session.client->ListDatasets(request));
    for (const v1::Dataset& dataset : page.datasets()) {
      table.AddRow(Row(dataset));
      if (context.output == OutputFormat::kJsonl) context.PrintJson(dataset);
      *all.add_datasets() = dataset;
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (context.output == OutputFormat::kJson) context.PrintJson(all);
  if (!context.IsMachineReadable()) context.out << table.ToString() << std::flush;
  return absl::OkStatus();
}

void AddAddVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<AddOptions>();
  CLI::App* verb = app.add_subcommand("add", "Register a token file with its privacy budget");
  verb->footer(
      "Example: sotto dataset add notes notes.tokens --max_records 20000 --epsilon 8 --delta 1e-6");
  verb->add_option("name", options->name, "name in job specs")->required();
  verb->add_option("file", options->path,
                   "token file of `sotto data prepare`, on the coordinator's host")
      ->required();
  verb->add_option("--max_records", options->max_records,
                   "public bound on the number of records; do not derive it from the file")
      ->required();
  CLI::Option* epsilon = verb->add_option("--epsilon", options->epsilon, "of the whole budget");
  CLI::Option* delta = verb->add_option("--delta", options->delta, "of the whole budget");
  CLI::Option* adjacency =
      verb->add_option("--adjacency", options->adjacency,
                       "what is protected: that a record is there (add_or_remove_one), what it "
                       "says (zero_out), or which it is (replace_one)")
          ->check(CLI::IsMember({"add_or_remove_one", "zero_out", "replace_one"}))
          ->capture_default_str();
  verb->add_flag("--no_budget", options->no_budget, "public data: raw values may be shown")
      ->excludes(epsilon)
      ->excludes(delta)
      ->excludes(adjacency);
  verb->callback([options, &context] { context.Finish(Add(*options, context)); });
}

}  // namespace

void AddDatasetVerb(CLI::App& app, Context& context) {
  CLI::App* dataset = app.add_subcommand("dataset", "Datasets and their budgets");
  dataset->require_subcommand(1);
  AddAddVerb(*dataset, context);

  CLI::App* list = dataset->add_subcommand("list", "List datasets");
  list->footer("Example: sotto dataset list");
  list->callback([&context] { context.Finish(List(context)); });

  auto name = std::make_shared<std::string>();
  CLI::App* show = dataset->add_subcommand("show", "Show one dataset");
  show->footer("Example: sotto dataset show notes");
  show->add_option("name", *name, "the dataset's name")->required();
  show->callback([name, &context] {
    context.Finish([&]() -> absl::Status {
      ASSIGN_OR_RETURN(Session session, context.ConnectOrStart());
      ASSIGN_OR_RETURN(const v1::Dataset found, session.client->GetDataset(*name));
      Print(found, context);
      return absl::OkStatus();
    }());
  });
}

}  // namespace sotto::cli
