// Health and reflection, as their standard clients call them. Debian has no headers for their
// messages, so these are given as bytes.
#include <string>
#include <vector>

#include <grpcpp/generic/generic_stub.h>

#include "gmock/gmock.h"
#include "server/api/testing/api_fixture.h"

namespace sotto::api {
namespace {

using ::testing::HasSubstr;

// HealthCheckResponse{status: SERVING}.
constexpr absl::string_view kServing("\x08\x01", 2);
// ServerReflectionRequest{list_services: "*"}.
constexpr absl::string_view kListServices("\x3a\x01*", 3);

class HealthTest : public ApiFixture {
 protected:
  struct Reply {
    grpc::Status status;
    std::string bytes;
  };

  // One request, one reply.
  Reply Call(const std::string& method, absl::string_view request) {
    grpc::GenericStub stub(local_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    auto call = stub.PrepareCall(&context, method, &queue);
    call->StartCall(nullptr);
    Await(queue);
    const grpc::Slice slice(request.data(), request.size());
    call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
    Await(queue);
    call->WritesDone(nullptr);
    Await(queue);
    Reply reply;
    grpc::ByteBuffer buffer;
    call->Read(&buffer, nullptr);
    if (Await(queue)) reply.bytes = BytesOf(buffer);
    call->Finish(&reply.status, nullptr);
    Await(queue);
    return reply;
  }

 private:
  static bool Await(grpc::CompletionQueue& queue) {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  }
  static std::string BytesOf(const grpc::ByteBuffer& buffer) {
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(buffer.Dump(&slices).ok());
    std::string bytes;
    for (const grpc::Slice& slice : slices) {
      bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    return bytes;
  }
};

TEST_F(HealthTest, ServesUntilItDrains) {
  const Reply reply = Call("/grpc.health.v1.Health/Check", "");
  EXPECT_TRUE(reply.status.ok()) << reply.status.error_message();
  EXPECT_EQ(reply.bytes, kServing);
  server_->Drain(absl::Seconds(5));
  EXPECT_FALSE(Call("/grpc.health.v1.Health/Check", "").status.ok());
}

TEST_F(HealthTest, ReflectionListsTheServices) {
  const Reply reply =
      Call("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", kListServices);
  for (const char* service :
       {"sotto.v1.JobService", "sotto.v1.LedgerService", "sotto.v1.WorkerService"}) {
    EXPECT_THAT(reply.bytes, HasSubstr(service));
  }
}

}  // namespace
}  // namespace sotto::api
