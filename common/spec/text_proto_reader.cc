#include <string>
#include <utility>

#include "common/spec/node_builder.h"
#include "common/spec/reader.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace sotto::spec {
namespace {

using google::protobuf::io::Tokenizer;

class Errors : public google::protobuf::io::ErrorCollector {
 public:
  explicit Errors(NodeBuilder& builder) : builder_(builder) {}
  void AddError(int line, google::protobuf::io::ColumnNumber, const std::string& message) override {
    builder_.violations().push_back({"", "must be a text proto: " + message, "", line + 1});
  }

 private:
  NodeBuilder& builder_;
};

// Recursive descent over protobuf's tokens. Every method returns false after reporting an error.
class TextProtoParser {
 public:
  TextProtoParser(google::protobuf::io::ZeroCopyInputStream* stream, NodeBuilder& builder)
      : builder_(builder), errors_(builder), tokenizer_(stream, &errors_) {
    tokenizer_.set_allow_f_after_float(true);
    tokenizer_.set_comment_style(Tokenizer::SH_COMMENT_STYLE);
    tokenizer_.Next();
  }

  void Run() {
    if (tokenizer_.current().type == Tokenizer::TYPE_END) return;
    builder_.StartMap(1);
    if (Fields("")) builder_.End();
  }

 private:
  // Fields up to `closing`, which is consumed; "" is the end of the text.
  bool Fields(const std::string& closing) {
    if (++depth_ > kMaxDepth) return Expected("less nesting");
    while (!Take(closing)) {
      if (tokenizer_.current().type != Tokenizer::TYPE_IDENTIFIER) {
        return Expected(closing.empty() ? "a field's name" : "a field's name or " + closing);
      }
      builder_.Key(tokenizer_.current().text, Line());
      tokenizer_.Next();
      if (!FieldValue()) return false;
      if (!Take(",")) Take(";");
    }
    --depth_;
    return true;
  }

  bool FieldValue() {
    const bool colon = Take(":");
    if (Looking("{") || Looking("<")) return Message();
    if (!colon) return Expected("':' or '{'");
    return Looking("[") ? List() : Value();
  }

  bool Message() {
    builder_.StartMap(Line());
    const std::string closing = Looking("{") ? "}" : ">";
    tokenizer_.Next();
    if (!Fields(closing)) return false;
    builder_.End();
    return true;
  }

  bool List() {
    builder_.StartList(Line());
    tokenizer_.Next();
    if (!Take("]")) {
      do {
        if (!(Looking("{") || Looking("<") ? Message() : Value())) return false;
      } while (Take(","));
      if (!Take("]")) return Expected("',' or ']'");
    }
    builder_.End();
    return true;
  }

  bool Value() {
    const int line = Line();
    const std::string sign = Take("-") ? "-" : "";
    const Tokenizer::Token token = tokenizer_.current();
    switch (token.type) {
      case Tokenizer::TYPE_INTEGER:
      case Tokenizer::TYPE_FLOAT:
        builder_.Scalar(sign + token.text, Node::Style::kNumber, line);
        break;
      case Tokenizer::TYPE_IDENTIFIER:
        builder_.Scalar(sign + token.text, Node::Style::kPlain, line);
        break;
      case Tokenizer::TYPE_STRING: {
        if (!sign.empty()) return Expected("a number");
        std::string text;
        for (; tokenizer_.current().type == Tokenizer::TYPE_STRING; tokenizer_.Next()) {
          Tokenizer::ParseStringAppend(tokenizer_.current().text, &text);
        }
        builder_.Scalar(std::move(text), Node::Style::kString, line);
        return true;
      }
      default:
        return Expected("a value");
    }
    tokenizer_.Next();
    return true;
  }

  bool Looking(const std::string& symbol) {
    return tokenizer_.current().type == Tokenizer::TYPE_SYMBOL &&
           tokenizer_.current().text == symbol;
  }

  bool Take(const std::string& symbol) {
    if (symbol.empty()) return tokenizer_.current().type == Tokenizer::TYPE_END;
    if (!Looking(symbol)) return false;
    tokenizer_.Next();
    return true;
  }

  bool Expected(const std::string& what) {
    const Tokenizer::Token& token = tokenizer_.current();
    builder_.violations().push_back(
        {"", "must be a text proto: expected " + what,
         token.type == Tokenizer::TYPE_END ? "the end of the text" : token.text, Line()});
    return false;
  }

  int Line() { return tokenizer_.current().line + 1; }

  NodeBuilder& builder_;
  Errors errors_;
  Tokenizer tokenizer_;
  int depth_ = 0;
};

}  // namespace

ReadResult ReadTextProto(absl::string_view text) {
  google::protobuf::io::ArrayInputStream stream(text.data(), static_cast<int>(text.size()));
  NodeBuilder builder;
  TextProtoParser(&stream, builder).Run();
  return {builder.TakeRoot(), std::move(builder.violations())};
}

}  // namespace sotto::spec
