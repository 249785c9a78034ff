// Builds a Node from a parser's events.
#ifndef SOTTO_COMMON_SPEC_NODE_BUILDER_H_
#define SOTTO_COMMON_SPEC_NODE_BUILDER_H_

#include <string>
#include <vector>

#include "common/spec/node.h"
#include "common/spec/violation.h"

namespace sotto::spec {

// Events come in document order; a mapping's Key precedes each of its values. Events after a second
// root value are ignored. Externally synchronised.
class NodeBuilder {
 public:
  void StartMap(int line);
  void StartList(int line);
  void End();
  void Key(std::string key, int line);
  void Scalar(std::string text, Node::Style style, int line);
  void Null(int line);

  // The next event inside a mapping is a key.
  bool ExpectsKey() const;
  // No value is open.
  bool IsComplete() const { return stack_.empty(); }
  bool HasRoot() const { return has_root_; }

  // What is wrong with the document as such; the reader adds what it finds.
  std::vector<Violation>& violations() { return violations_; }
  // The finished tree. Call once, when IsComplete().
  Node TakeRoot() { return std::move(root_); }

 private:
  struct Open {
    Node node;
    std::string key;
    int key_line = 0;
    bool has_key = false;
  };

  void Start(Node::Kind kind, int line);
  void Attach(Node node);

  std::vector<Open> stack_;
  Node root_;
  bool has_root_ = false;
  std::vector<Violation> violations_;
};

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_NODE_BUILDER_H_
