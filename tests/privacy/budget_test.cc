// From plans to a full budget: whatever was admitted and run, an accountant written here, from the
// textbook formula, finds no more than the budget.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "common/base/status_matchers.h"
#include "common/base/testing/printed_seed.h"
#include "server/ledger/job_charge.h"
#include "server/ledger/testing/ledger_fixture.h"
#include "server/planning/planner.h"
#include "server/planning/testing/demo_job.h"

namespace sotto {
namespace {

// Steps of one Poisson-subsampled Gaussian that were paid.
struct Released {
  double sampling_rate = 0;
  double noise_multiplier = 0;
  int64_t steps = 0;
};

// RDP of one step at an integer order (Mironov, Talwar, Zhang 2019, arXiv 1908.10530, section 3.3):
// the log of sum_k binomial(order, k) (1-q)^(order-k) q^k exp(k(k-1) / (2 sigma^2)), over order
// - 1.
double RdpAt(int order, double sampling_rate, double noise_multiplier) {
  std::vector<double> logs;
  for (int k = 0; k <= order; ++k) {
    logs.push_back(std::lgamma(order + 1) - std::lgamma(k + 1) - std::lgamma(order - k + 1) +
                   (order - k) * std::log1p(-sampling_rate) + k * std::log(sampling_rate) +
                   k * (k - 1.0) / (2 * noise_multiplier * noise_multiplier));
  }
  const double largest = *std::max_element(logs.begin(), logs.end());
  double sum = 0;
  for (const double log : logs) sum += std::exp(log - largest);
  return (largest + std::log(sum)) / (order - 1);
}

double EpsilonOf(const std::vector<Released>& releases, double delta) {
  double best = std::numeric_limits<double>::infinity();
  for (int order = 2; order <= 256; ++order) {
    double rdp = 0;
    for (const Released& released : releases) {
      rdp += released.steps * RdpAt(order, released.sampling_rate, released.noise_multiplier);
    }
    best = std::min(best, rdp + std::log1p(-1.0 / order) - std::log(delta * order) / (order - 1));
  }
  return best;
}

class BudgetTest : public ::testing::Test, protected ledger::LedgerFixture {
 protected:
  void SetUp() override { ASSERT_OK(Register(ledger::MakeDataset("fortunes"))); }

  // The demo's job with other numbers.
  absl::StatusOr<v1::JobPlan> PlanOf(double epsilon, int64_t steps, double expected_batch_size,
                                     double crash_reserve) {
    v1::JobSpec spec = planning::MakeDemoSpec();
    spec.mutable_privacy()->set_epsilon(epsilon);
    spec.mutable_privacy()->set_crash_reserve(crash_reserve);
    spec.mutable_train()->set_steps(steps);
    spec.mutable_train()->set_expected_batch_size(expected_batch_size);
    return planning::Plan(spec, planning::MakeDemoDataset(), planning::MakeDemoHost());
  }

  // As the scheduler admits it.
  absl::Status Admit(const std::string& job, const v1::JobPlan& plan) {
    ledger::ReservationRequest request;
    request.job = job;
    request.dataset = "fortunes";
    ASSIGN_OR_RETURN(request.charge, ledger::JobChargeOf(plan));
    return Reserve(request);
  }

  // Runs `steps` of the job, and ends it.
  absl::Status Run(const std::string& job, int64_t steps) {
    RETURN_IF_ERROR(StartAttempt(job, 1));
    if (steps > 0) RETURN_IF_ERROR(Grant(job, 1, 0, steps).status());
    return Settle(job);
  }

  static Released ReleasedBy(const v1::JobPlan& plan, int64_t steps) {
    return {plan.privacy().sampling_rate(), plan.privacy().noise_multiplier(), steps};
  }
};

TEST_F(BudgetTest, AdmittedJobsStayWithinTheBudgetByAnotherAccountant) {
  std::mt19937_64 random(PrintedSeed());
  const auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  std::vector<Released> releases;
  int num_refused = 0;
  for (int i = 1; num_refused < 6 && i < 200; ++i) {
    ASSERT_OK_AND_ASSIGN(const v1::JobPlan plan, PlanOf(0.5 + 0.25 * draw(0, 6), draw(20, 400),
                                                        64 << draw(0, 4), 0.1 * draw(0, 3)));
    const std::string job = "job-" + std::to_string(i);
    const absl::Status admitted = Admit(job, plan);
    if (absl::IsResourceExhausted(admitted)) {
      ++num_refused;
      continue;
    }
    ASSERT_OK(admitted);
    // Most run to their end, some stop early and give the rest back.
    const int64_t charged = plan.privacy().charged_steps();
    const int64_t steps = draw(0, 2) == 0 ? draw(0, static_cast<int>(charged)) : charged;
    ASSERT_OK(Run(job, steps));
    if (steps > 0) releases.push_back(ReleasedBy(plan, steps));
  }
  EXPECT_EQ(num_refused, 6);
  EXPECT_GT(releases.size(), 3);
  ASSERT_OK_AND_ASSIGN(const v1::Dataset dataset, GetDataset("fortunes"));
  const double epsilon = EpsilonOf(releases, 0.99e-6);
  std::cout << releases.size() << " jobs, epsilon " << epsilon << ", ledger's "
            << dataset.spent_epsilon() << std::endl;
  EXPECT_LE(epsilon, 8);
  // The ledger pays for adaptivity (a 22nd of delta per order), not for slack: what it calls spent
  // is above what a schedule fixed beforehand costs, and not by much.
  EXPECT_GE(dataset.spent_epsilon(), epsilon);
  EXPECT_LE(dataset.spent_epsilon(), 1.2 * epsilon);
  EXPECT_LE(dataset.spent_epsilon(), 8);
  EXPECT_OK(Verify());
}

TEST_F(BudgetTest, JobsOwnEpsilonHoldsByAnotherAccountant) {
  for (const double epsilon : {0.5, 1.0, 3.0, 6.0}) {
    ASSERT_OK_AND_ASSIGN(const v1::JobPlan plan, PlanOf(epsilon, 300, 512, 0));
    const v1::PrivacyPlan& privacy = plan.privacy();
    EXPECT_LE(privacy.epsilon(), epsilon);
    EXPECT_GE(privacy.epsilon(), 0.999 * epsilon);
    // Integer orders alone are the weaker bound: at least the plan's epsilon, within a percent or
    // two.
    const double checked =
        EpsilonOf({ReleasedBy(plan, privacy.planned_steps())}, privacy.accounting_delta());
    EXPECT_GE(checked, privacy.epsilon() * (1 - 1e-6));
    EXPECT_LE(checked, 1.02 * epsilon) << "sigma " << privacy.noise_multiplier();
    // The whole release is the gradient's, the loss's and the clip fraction's together.
    const double joint = std::pow(privacy.gradient_noise_multiplier(), -2) +
                         std::pow(privacy.loss_noise_multiplier(), -2) +
                         std::pow(privacy.clip_fraction_noise_multiplier(), -2);
    EXPECT_LE(std::sqrt(joint), (1 + 1e-12) / privacy.noise_multiplier());
  }
}

TEST_F(BudgetTest, DemosSecondJobIsRefused) {
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan first, PlanOf(3, 300, 512, 0));
  ASSERT_OK(Admit("job-1", first));
  ASSERT_OK_AND_ASSIGN(const v1::JobPlan second, PlanOf(8, 300, 512, 0));
  const absl::Status refused = Admit("job-2", second);
  EXPECT_THAT(refused, StatusIs(absl::StatusCode::kResourceExhausted));
  ASSERT_TRUE(ledger::GetBudgetRefusal(refused).has_value());
  EXPECT_LT(ledger::GetBudgetRefusal(refused)->largest_steps, 300);
}

}  // namespace
}  // namespace sotto
