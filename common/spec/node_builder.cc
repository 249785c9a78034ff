#include "common/spec/node_builder.h"

#include <utility>

namespace sotto::spec {

void NodeBuilder::StartMap(int line) { Start(Node::Kind::kMap, line); }

void NodeBuilder::StartList(int line) { Start(Node::Kind::kList, line); }

void NodeBuilder::Start(Node::Kind kind, int line) {
  Open open;
  open.node.kind = kind;
  open.node.line = line;
  stack_.push_back(std::move(open));
}

void NodeBuilder::End() {
  Node node = std::move(stack_.back().node);
  stack_.pop_back();
  Attach(std::move(node));
}

void NodeBuilder::Key(std::string key, int line) {
  Open& top = stack_.back();
  top.key = std::move(key);
  top.key_line = line;
  top.has_key = true;
}

void NodeBuilder::Scalar(std::string text, Node::Style style, int line) {
  Node node;
  node.kind = Node::Kind::kScalar;
  node.style = style;
  node.line = line;
  node.text = std::move(text);
  Attach(std::move(node));
}

void NodeBuilder::Null(int line) {
  Node node;
  node.line = line;
  Attach(std::move(node));
}

bool NodeBuilder::ExpectsKey() const {
  return !stack_.empty() && stack_.back().node.kind == Node::Kind::kMap && !stack_.back().has_key;
}

void NodeBuilder::Attach(Node node) {
  if (stack_.empty()) {
    if (!has_root_) root_ = std::move(node);
    has_root_ = true;
    return;
  }
  Open& top = stack_.back();
  if (top.node.kind == Node::Kind::kList) {
    top.node.items.push_back(std::move(node));
    return;
  }
  top.node.entries.push_back({std::move(top.key), top.key_line, std::move(node)});
  top.has_key = false;
}

}  // namespace sotto::spec
