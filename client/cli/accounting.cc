// sotto epsilon, sotto sigma: questions about privacy that need no coordinator.
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "client/cli/verbs.h"
#include "common/base/status_macros.h"
#include "nlohmann/json.hpp"
#include "server/accounting/epsilon.h"
#include "server/accounting/offline.h"

namespace sotto::cli {
namespace {

void PrintDocument(const nlohmann::ordered_json& document, Context& context) {
  context.out << document.dump(context.output == OutputFormat::kJson ? 2 : -1) << std::endl;
}

absl::Status Epsilon(const accounting::EpsilonQuestion& question, Context& context) {
  ASSIGN_OR_RETURN(const accounting::EpsilonAnswer answer, accounting::AnswerEpsilon(question));
  if (context.IsMachineReadable()) {
    PrintDocument({{"epsilon", answer.epsilon},
                   {"delta", question.delta},
                   {"order", answer.order},
                   {"noise_multiplier", question.noise_multiplier},
                   {"sampling_rate", question.sampling_rate},
                   {"steps", question.steps}},
                  context);
    return absl::OkStatus();
  }
  const std::string source = answer.order == accounting::kExactGaussian
                                 ? "exact: without sampling"
                                 : absl::StrFormat("RDP, order %.4g", answer.order);
  context.out << absl::StrFormat("epsilon %.6g at delta %.3g (%s, add or remove one record)\n",
                                 answer.epsilon, question.delta, source)
              << std::flush;
  return absl::OkStatus();
}

absl::Status Sigma(const accounting::SigmaQuestion& question, Context& context) {
  ASSIGN_OR_RETURN(const accounting::SigmaAnswer answer, accounting::AnswerSigma(question));
  if (context.IsMachineReadable()) {
    PrintDocument({{"noise_multiplier", answer.noise_multiplier},
                   {"epsilon", answer.epsilon},
                   {"delta", question.delta},
                   {"order", answer.order},
                   {"sampling_rate", question.sampling_rate},
                   {"steps", question.steps}},
                  context);
    return absl::OkStatus();
  }
  context.out << absl::StrFormat("noise multiplier %.6g gives epsilon %.6g at delta %.3g\n",
                                 answer.noise_multiplier, answer.epsilon, question.delta)
              << std::flush;
  return absl::OkStatus();
}

}  // namespace

void AddEpsilonVerb(CLI::App& app, Context& context) {
  auto question = std::make_shared<accounting::EpsilonQuestion>();
  CLI::App* verb =
      app.add_subcommand("epsilon", "Epsilon of DP-SGD with Poisson sampling, offline");
  verb->footer(
      "Example: sotto epsilon --noise_multiplier 1.1 --sampling_rate 0.004 --steps 3500 --delta "
      "1e-5");
  verb->add_option("--noise_multiplier", question->noise_multiplier,
                   "sigma over the L2 sensitivity")
      ->required();
  verb->add_option("--sampling_rate", question->sampling_rate, "q")->required();
  verb->add_option("--steps", question->steps, "releases")->required();
  verb->add_option("--delta", question->delta, "delta")->required();
  verb->callback([question, &context] { context.Finish(Epsilon(*question, context)); });
}

void AddSigmaVerb(CLI::App& app, Context& context) {
  auto question = std::make_shared<accounting::SigmaQuestion>();
  CLI::App* verb = app.add_subcommand("sigma", "Noise multiplier for a target epsilon, offline");
  verb->footer("Example: sotto sigma --epsilon 3 --sampling_rate 0.004 --steps 3500 --delta 1e-5");
  verb->add_option("--epsilon", question->epsilon, "target")->required();
  verb->add_option("--sampling_rate", question->sampling_rate, "q")->required();
  verb->add_option("--steps", question->steps, "releases")->required();
  verb->add_option("--delta", question->delta, "delta")->required();
  verb->callback([question, &context] { context.Finish(Sigma(*question, context)); });
}

}  // namespace sotto::cli
