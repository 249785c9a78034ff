// One unary call of the callback API.
#ifndef SOTTO_SERVER_API_UNARY_CALL_H_
#define SOTTO_SERVER_API_UNARY_CALL_H_

#include <memory>
#include <utility>

#include <grpcpp/support/server_callback.h>

#include "absl/status/statusor.h"
#include "server/api/errors.h"
#include "server/api/field_classes.h"

namespace sotto::api {

// Hands out the end of a call exactly once, from any thread. Copies share the call; `response` is
// gRPC's and lives until the end. Every answer passes KeepOnlyVisible.
template <typename Response>
class UnaryCall {
 public:
  UnaryCall(grpc::CallbackServerContext* context, Response* response,
            Audience audience = Audience::kReaders)
      : reactor_(context->DefaultReactor()), response_(response), audience_(audience) {}

  grpc::ServerUnaryReactor* reactor() const { return reactor_; }

  void Answer(Response answer) const {
    KeepOnlyVisible(audience_, answer);
    *response_ = std::move(answer);
    reactor_->Finish(grpc::Status::OK);
  }
  void Fail(const absl::Status& status) const { reactor_->Finish(ToGrpcStatus(status)); }
  // Either of the two.
  void End(absl::StatusOr<Response> result) const {
    if (!result.ok()) return Fail(result.status());
    Answer(*std::move(result));
  }

 private:
  grpc::ServerUnaryReactor* reactor_;
  Response* response_;
  Audience audience_;
};

}  // namespace sotto::api

#endif  // SOTTO_SERVER_API_UNARY_CALL_H_
