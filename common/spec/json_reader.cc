#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>

#include "common/spec/node_builder.h"
#include "common/spec/reader.h"
#include "nlohmann/json.hpp"

namespace sotto::spec {
namespace {

// Where the parser has read to.
struct Position {
  int newlines = 0;
  char last = 0;

  // The line of the token just read. A number is only over at the character behind it.
  int line() const { return 1 + newlines - (last == '\n' ? 1 : 0); }
};

// Characters of the text; counts what is read.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, Position* position) : at_(at), position_(position) {}

  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    position_->last = *at_;
    if (*at_ == '\n') ++position_->newlines;
    ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  Position* position_;
};

class Handler : public nlohmann::json_sax<nlohmann::json> {
 public:
  Handler(NodeBuilder& builder, const Position& position)
      : builder_(builder), position_(position) {}

  bool null() override {
    builder_.Null(position_.line());
    return true;
  }
  bool boolean(bool value) override { return Scalar(value ? "true" : "false", Node::Style::kBool); }
  bool number_integer(int64_t value) override {
    return Scalar(std::to_string(value), Node::Style::kNumber);
  }
  bool number_unsigned(uint64_t value) override {
    return Scalar(std::to_string(value), Node::Style::kNumber);
  }
  bool number_float(double, const std::string& text) override {
    return Scalar(text, Node::Style::kNumber);
  }
  bool string(std::string& value) override { return Scalar(value, Node::Style::kString); }
  bool binary(nlohmann::json::binary_t&) override { return false; }

  bool start_object(size_t) override {
    builder_.StartMap(position_.line());
    return Open();
  }
  bool end_object() override { return Close(); }
  bool start_array(size_t) override {
    builder_.StartList(position_.line());
    return Open();
  }
  bool end_array() override { return Close(); }
  bool key(std::string& value) override {
    builder_.Key(value, position_.line());
    return true;
  }

  bool parse_error(size_t, const std::string& token,
                   const nlohmann::json::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: what": keep what.
    std::string what = error.what();
    const size_t colon = what.find(": ");
    if (colon != std::string::npos) what = what.substr(colon + 2);
    // Unlike a token's, an error's line is where reading stopped.
    builder_.violations().push_back({"", "must be JSON: " + what, "", position_.line()});
    return false;
  }

 private:
  bool Scalar(std::string text, Node::Style style) {
    builder_.Scalar(std::move(text), style, position_.line());
    return true;
  }
  bool Open() {
    if (++depth_ <= kMaxDepth) return true;
    builder_.violations().push_back({"", "must be JSON: nested too deeply", "", position_.line()});
    return false;
  }
  bool Close() {
    --depth_;
    builder_.End();
    return true;
  }

  NodeBuilder& builder_;
  const Position& position_;
  int depth_ = 0;
};

}  // namespace

ReadResult ReadJson(absl::string_view text) {
  NodeBuilder builder;
  Position position;
  Handler handler(builder, position);
  const CountingIterator begin(text.data(), &position);
  const CountingIterator end(text.data() + text.size(), &position);
  if (!nlohmann::json::sax_parse(begin, end, &handler) && builder.violations().empty()) {
    builder.violations().push_back({"", "must be JSON", "", position.line()});
  }
  return {builder.TakeRoot(), std::move(builder.violations())};
}

}  // namespace sotto::spec
