// What the three spec formats have in common: a tree of mappings, sequences and scalars with lines.
#ifndef SOTTO_COMMON_SPEC_NODE_H_
#define SOTTO_COMMON_SPEC_NODE_H_

#include <string>
#include <vector>

namespace sotto::spec {

struct NodeEntry;

struct Node {
  enum class Kind { kNull, kScalar, kMap, kList };
  // How a scalar was written. kPlain: YAML without quotes, whose type follows from the text, or an
  // identifier of a text proto.
  enum class Style { kPlain, kString, kNumber, kBool };

  Kind kind = Kind::kNull;
  Style style = Style::kPlain;
  int line = 0;                    // from 1
  std::string text;                // of a scalar, unescaped
  std::vector<NodeEntry> entries;  // of a mapping, as written: duplicates are kept
  std::vector<Node> items;         // of a sequence
};

struct NodeEntry {
  std::string key;
  int line = 0;
  Node value;
};

}  // namespace sotto::spec

#endif  // SOTTO_COMMON_SPEC_NODE_H_
