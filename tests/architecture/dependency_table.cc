#include "tests/architecture/dependency_table.h"

namespace sotto::architecture {

const std::vector<PackageRule>& DependencyTable() {
  static const auto& table = *new std::vector<PackageRule>{
      {"common/base", {"spdlog"}},
      {"common/crypto", {"openssl"}},
      {"common/layout", {}, /*is_pure=*/true},
      {"common/dataset", {"json", "common/crypto"}},
      {"common/spec", {"proto", "common/layout", "yaml", "json"}},
      {"common/checkpoint", {"common/layout", "common/crypto", "proto", "json"}},
      {"kernels", {}, /*is_pure=*/true},
      {"kernels/cuda", {"kernels", "cuda"}},
      {"server/accounting", {}, /*is_pure=*/true},
      {"server/planning",
       {"proto", "common/layout", "common/spec", "common/crypto/sha256.h", "server/accounting"},
       /*is_pure=*/true},
      {"server/database", {"sqlite"}},
      {"server/store", {"server/database", "proto", "common/crypto"}},
      {"server/ledger", {"server/database", "proto", "common/crypto", "server/accounting"}},
      {"server/launcher", {"proto", "common/crypto"}},
      {"server/scheduler",
       {"proto", "server/store/job_store.h", "server/store/job_reader.h", "server/ledger/ledger.h",
        "server/ledger/dataset_registry.h", "server/ledger/budget_refusal.h",
        "server/ledger/job_charge.h", "server/launcher/launcher.h", "server/launcher/exit_record.h",
        "server/launcher/process_identity.h", "server/database/transaction.h",
        "server/database/work_queue.h", "server/accounting", "common/crypto"}},
      {"server/api",
       {"grpc", "proto", "common/spec", "common/crypto", "common/dataset", "common/layout",
        "server/scheduler", "server/planning", "server/accounting", "server/ledger",
        "server/store/job_reader.h"}},
      {"worker/grant", {}},
      {"worker/comm", {"cuda", "nccl"}},
      {"worker/memory", {"torch"}},
      {"worker/nn", {"torch", "kernels"}},
      {"worker/models", {"torch", "worker/nn", "common/layout"}},
      {"worker/fsdp", {"torch", "worker/comm", "common/layout", "kernels"}},
      {"worker/dp",
       {"torch", "kernels", "worker/nn", "common/layout", "common/crypto", "worker/grant"}},
      {"worker/optim", {"torch", "kernels", "worker/dp/noised_gradient.h"}},
      {"worker/data", {"common/dataset", "common/crypto", "torch"}},
      // The manifest that common/checkpoint reads and writes is a message.
      {"worker/checkpoint", {"common/checkpoint", "common/layout", "torch", "proto"}},
      {"worker/train",
       {"torch", "proto", "kernels", "common/layout", "common/dataset", "common/crypto",
        "common/checkpoint", "worker/grant", "worker/comm", "worker/nn", "worker/models",
        "worker/fsdp", "worker/dp", "worker/optim", "worker/data", "worker/checkpoint",
        "worker/memory", "worker/control"}},
      {"worker/infer",
       {"torch", "proto", "json", "common/layout", "common/dataset", "common/spec",
        "common/checkpoint", "worker/comm", "worker/models", "worker/fsdp",
        "worker/train/agreement.h", "worker/train/initial_weights.h",
        "worker/train/torch_errors.h"}},
      {"worker/control", {"grpc", "proto", "worker/grant", "worker/dp/noised_metrics.h"}},
      {"client",
       {"grpc", "proto", "json", "cli11", "common/spec", "common/dataset", "common/checkpoint",
        "common/layout", "common/crypto", "server/accounting"}},
  };
  return table;
}

const PackageRule* FindRule(const std::vector<PackageRule>& table, const std::string& path) {
  const PackageRule* longest = nullptr;
  for (const PackageRule& rule : table) {
    const bool is_inside = path.rfind(rule.package + "/", 0) == 0;
    if (is_inside && (longest == nullptr || rule.package.size() > longest->package.size())) {
      longest = &rule;
    }
  }
  return longest;
}

}  // namespace sotto::architecture
