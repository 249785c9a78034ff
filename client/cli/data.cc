// sotto data prepare: text, tokens, images or vectors to a token file.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "client/cli/verbs.h"
#include "client/prepare/prepare.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"

namespace sotto::cli {
namespace {

struct DataOptions {
  client::PrepareOptions prepare;
  std::string format = "lines";
};

nlohmann::ordered_json ToJsonObject(const client::PreparedFile& file) {
  return {{"path", file.path},
          {"sha256", file.sha256},
          {"records", file.records},
          {"truncated_records", file.truncated_records}};
}

void Print(const client::PreparedFile& file, const char* what, Context& context) {
  context.out << absl::StrFormat("%s %s: %d records (%d cut to the length), sha256 %s\n", what,
                                 file.path, file.records, file.truncated_records, file.sha256);
}

absl::Status PrepareData(DataOptions& options, Context& context) {
  ASSIGN_OR_RETURN(options.prepare.reader.format, client::ParseRecordFormat(options.format));
  ASSIGN_OR_RETURN(const client::Prepared prepared, client::Prepare(options.prepare));
  const bool has_holdout = !prepared.holdout.path.empty();
  if (context.IsMachineReadable()) {
    nlohmann::ordered_json document = {{"dataset", ToJsonObject(prepared.dataset)}};
    if (has_holdout) document["holdout"] = ToJsonObject(prepared.holdout);
    if (!prepared.value_type.empty()) document["value_type"] = prepared.value_type;
    context.out << document.dump(context.output == OutputFormat::kJson ? 2 : -1) << std::endl;
    return absl::OkStatus();
  }
  Print(prepared.dataset, "dataset", context);
  if (has_holdout) Print(prepared.holdout, "public", context);
  if (!prepared.value_type.empty()) context.out << "values " << prepared.value_type << "\n";
  context.out << std::flush;
  return absl::OkStatus();
}

}  // namespace

void AddDataVerb(CLI::App& app, Context& context) {
  auto options = std::make_shared<DataOptions>();
  CLI::App* data = app.add_subcommand("data", "Prepare data");
  data->require_subcommand(1);
  CLI::App* verb = data->add_subcommand("prepare",
                                        "Turn text (one token a byte), or another tokenizer's "
                                        "tokens, into a token file; one record is "
                                        "one privacy unit");
  verb->footer(
      "Example: sotto data prepare notes.txt --format percent --max_length 256 --out notes.tokens\n"
      "             --holdout public.tokens --holdout_every 20");
  verb->add_option("inputs", options->prepare.inputs, "files of text or tokens")->required();
  verb->add_option(
          "--format", options->format,
          "lines, percent, jsonl ({\"text\": ...}, or {\"prompt\": ..., \"completion\": ...} of "
          "which only the completion is scored) or csv; tokens: JSON lines of ./dev tokenize; "
          "values: JSON lines {\"values\": [...], \"label\": n, "
          "\"targets\": [...]} of images or vectors; safetensors: images [N, C, H, W] or vectors "
          "[N, K], labels, targets")
      ->capture_default_str();
  verb->add_option("--column", options->prepare.reader.column,
                   "csv: the text's column; jsonl: the text's field")
      ->capture_default_str();
  verb->add_option("--classes", options->prepare.reader.classes,
                   "N: every record of jsonl, tokens, values or safetensors has a label from 0 to "
                   "N-1; public, so never taken from the records");
  verb->add_option("--shape", options->prepare.shape,
                   "values: channels,height,width of an image; left out: vectors")
      ->delimiter(',');
  verb->add_option(
      "--dtype", options->prepare.dtype,
      "values and safetensors: u8 (whole numbers from 0 to 255, read as v / 127.5 - 1; "
      "others are refused) or fp32; unset: the tensor's own, fp32 of JSON lines");
  verb->add_option("--max_length", options->prepare.max_length,
                   "text and tokens: tokens of a record at most, its end included; longer ones are "
                   "cut and counted");
  verb->add_option("--out", options->prepare.output, "token file to write")->required();
  verb->add_option("--holdout", options->prepare.holdout,
                   "public token file for evaluation, split off the records");
  verb->add_option("--holdout_every", options->prepare.holdout_every,
                   "N: every Nth record goes to the public file");
  verb->callback([options, &context] { context.Finish(PrepareData(*options, context)); });
}

}  // namespace sotto::cli
