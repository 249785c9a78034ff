#include <sstream>
#include <string>
#include <utility>

#include "common/spec/node_builder.h"
#include "common/spec/reader.h"
#include "yaml-cpp/eventhandler.h"
#include "yaml-cpp/exceptions.h"
#include "yaml-cpp/mark.h"
#include "yaml-cpp/parser.h"

namespace sotto::spec {
namespace {

int LineOf(const YAML::Mark& mark) { return mark.line + 1; }

// Feeds the builder. What YAML has and specs do not is a violation; parsing goes on behind it.
class Handler : public YAML::EventHandler {
 public:
  explicit Handler(NodeBuilder& builder) : builder_(builder) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ == 1) Refuse(LineOf(mark), "must be one document, but another one begins", "");
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    CheckPlain(mark, "", anchor);
    if (builder_.ExpectsKey()) {
      Refuse(LineOf(mark), "a mapping's key must be a name", "null");
      builder_.Key("", LineOf(mark));
    } else {
      builder_.Null(LineOf(mark));
    }
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    Refuse(LineOf(mark), "must not use aliases", "*");
    if (builder_.ExpectsKey()) {
      builder_.Key("", LineOf(mark));
    } else {
      builder_.Null(LineOf(mark));
    }
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    CheckPlain(mark, tag, anchor);
    if (builder_.ExpectsKey()) {
      builder_.Key(value, LineOf(mark));
    } else {
      // yaml-cpp's tag of a quoted scalar is "!", of a plain one "?".
      builder_.Scalar(value, tag == "!" ? Node::Style::kString : Node::Style::kPlain, LineOf(mark));
    }
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor);
    builder_.StartList(LineOf(mark));
  }
  void OnSequenceEnd() override { Close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(mark, tag, anchor);
    builder_.StartMap(LineOf(mark));
  }
  void OnMapEnd() override { Close(); }

 private:
  void Open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    CheckPlain(mark, tag, anchor);
    if (builder_.ExpectsKey()) {
      Refuse(LineOf(mark), "a mapping's key must be a name", "");
      builder_.Key("", LineOf(mark));  // The collection then counts as the value.
    }
    if (++depth_ > kMaxDepth) throw YAML::ParserException(mark, "nested too deeply");
  }

  void Close() {
    --depth_;
    builder_.End();
  }

  void CheckPlain(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) Refuse(LineOf(mark), "must not use anchors", "&");
    if (tag != "" && tag != "!" && tag != "?") Refuse(LineOf(mark), "must not use tags", tag);
  }

  void Refuse(int line, std::string rule, std::string value) {
    builder_.violations().push_back({"", std::move(rule), std::move(value), line});
  }

  NodeBuilder& builder_;
  int documents_ = 0;
  int depth_ = 0;
};

}  // namespace

ReadResult ReadYaml(absl::string_view text) {
  NodeBuilder builder;
  Handler handler(builder);
  std::istringstream stream{std::string(text)};
  try {  // yaml-cpp reports syntax by exceptions; they end here.
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(handler)) {
    }
  } catch (const YAML::Exception& error) {
    return {Node(), {{"", "must be YAML: " + error.msg, "", LineOf(error.mark)}}};
  }
  return {builder.TakeRoot(), std::move(builder.violations())};
}

}  // namespace sotto::spec
