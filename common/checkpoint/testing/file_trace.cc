#include "common/checkpoint/testing/file_trace.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/files.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace sotto::checkpoint {
namespace {

using Kind = FileOperation::Kind;

// A file or a folder. Names point at nodes, so that a rename moves a folder with what is in it.
struct Node {
  bool is_folder = false;
  std::string bytes;                                   // of a file, as a running system sees them
  std::string synced;                                  // as the platters do
  std::map<std::string, std::shared_ptr<Node>> names;  // of a folder
  std::map<std::string, std::shared_ptr<Node>> durable;
};
using NodePtr = std::shared_ptr<Node>;

// One entry of a folder that came or went.
struct NameChange {
  NodePtr folder;
  std::string name;
  NodePtr node;  // null: it went
};

// All changes of one operation reach the disk together, as a journal has it.
using NameChanges = std::vector<NameChange>;

std::pair<std::string, std::string> Split(const std::string& path) {
  return {FolderOf(path), path.substr(path.rfind('/') + 1)};
}

class Disk {
 public:
  explicit Disk(absl::Span<const FileOperation> done) {
    root_->is_folder = true;
    for (const FileOperation& operation : done) Apply(operation);
  }

  const std::vector<NameChanges>& unsynced() const { return unsynced_; }

  void Keep(const NameChanges& changes) {
    for (const NameChange& change : changes) Set(change, change.folder->durable);
  }

  std::map<std::string, std::string> Durable(bool torn) const {
    std::map<std::string, std::string> files;
    List(*root_, "", torn, files);
    return files;
  }

 private:
  // Folders above the recorded ones have always been there.
  NodePtr Folder(const std::string& path) {
    if (path.empty() || path == "/") return root_;
    const auto [parent_path, name] = Split(path);
    const NodePtr parent = Folder(parent_path);
    NodePtr& node = parent->names[name];
    if (node == nullptr) {
      node = std::make_shared<Node>();
      node->is_folder = true;
      parent->durable[name] = node;
    }
    return node;
  }

  static void Set(const NameChange& change, std::map<std::string, NodePtr>& names) {
    if (change.node == nullptr) {
      names.erase(change.name);
    } else {
      names[change.name] = change.node;
    }
  }

  void Change(const NameChanges& changes) {
    for (const NameChange& change : changes) Set(change, change.folder->names);
    unsynced_.push_back(changes);
  }

  void Apply(const FileOperation& operation) {
    const auto [folder_path, name] = Split(operation.path);
    const NodePtr folder = Folder(folder_path);
    switch (operation.kind) {
      case Kind::kMakeFolder:
      case Kind::kCreate: {
        if (folder->names.contains(name)) {
          SOTTO_CHECK(operation.kind == Kind::kMakeFolder);  // Nothing is overwritten in place.
          return;
        }
        auto node = std::make_shared<Node>();
        node->is_folder = operation.kind == Kind::kMakeFolder;
        return Change({{folder, name, node}});
      }
      case Kind::kWrite:
        folder->names.at(name)->bytes += operation.bytes;
        return;
      case Kind::kSync:
        folder->names.at(name)->synced = folder->names.at(name)->bytes;
        return;
      case Kind::kRename: {
        const auto [new_folder, new_name] = Split(operation.bytes);
        const NodePtr node = folder->names.at(name);
        return Change({{folder, name, nullptr}, {Folder(new_folder), new_name, node}});
      }
      case Kind::kRemove:
        return Change({{folder, name, nullptr}});
      case Kind::kSyncFolder:
        return SyncFolder(Folder(operation.path));
    }
  }

  // Changes of several folders become durable with any of them.
  void SyncFolder(const NodePtr& folder) {
    std::vector<NameChanges> left;
    for (const NameChanges& changes : unsynced_) {
      bool is_touched = false;
      for (const NameChange& change : changes) is_touched |= change.folder == folder;
      if (is_touched) {
        Keep(changes);
      } else {
        left.push_back(changes);
      }
    }
    unsynced_ = std::move(left);
  }

  static void List(const Node& folder, const std::string& path, bool torn,
                   std::map<std::string, std::string>& files) {
    for (const auto& [name, node] : folder.durable) {
      const std::string full = absl::StrCat(path, "/", name);
      if (node->is_folder) {
        files[full + "/"] = "";
        List(*node, full, torn, files);
        continue;
      }
      const size_t unsynced = node->bytes.size() - node->synced.size();
      files[full] = torn ? node->bytes.substr(0, node->synced.size() + unsynced / 2) : node->synced;
    }
  }

  const NodePtr root_ = std::make_shared<Node>();
  std::vector<NameChanges> unsynced_;
};

}  // namespace

std::string ToString(const FileOperation& operation) {
  switch (operation.kind) {
    case Kind::kMakeFolder:
      return absl::StrCat("make folder ", operation.path);
    case Kind::kCreate:
      return absl::StrCat("create ", operation.path);
    case Kind::kWrite:
      return absl::StrCat("write ", operation.bytes.size(), " bytes to ", operation.path);
    case Kind::kSync:
      return absl::StrCat("sync ", operation.path);
    case Kind::kRename:
      return absl::StrCat("rename ", operation.path, " to ", operation.bytes);
    case Kind::kRemove:
      return absl::StrCat("remove ", operation.path);
    case Kind::kSyncFolder:
      return absl::StrCat("sync folder ", operation.path);
  }
  return "";
}

absl::Status RecordingFiles::MakeFolder(const std::string& path) {
  Add(Kind::kMakeFolder, path);
  return ForwardingFiles::MakeFolder(path);
}

absl::StatusOr<UniqueFd> RecordingFiles::Create(const std::string& path) {
  Add(Kind::kCreate, path);
  absl::StatusOr<UniqueFd> file = ForwardingFiles::Create(path);
  if (!file.ok()) return file;
  MutexLock lock(&mutex_);
  open_[file->get()] = path;
  return file;
}

absl::Status RecordingFiles::Write(int file, absl::string_view bytes) {
  Add(Kind::kWrite, PathOf(file), bytes);
  return ForwardingFiles::Write(file, bytes);
}

absl::Status RecordingFiles::Sync(int file) {
  Add(Kind::kSync, PathOf(file));
  return ForwardingFiles::Sync(file);
}

absl::Status RecordingFiles::Rename(const std::string& from, const std::string& to) {
  Add(Kind::kRename, from, to);
  return ForwardingFiles::Rename(from, to);
}

absl::Status RecordingFiles::Remove(const std::string& path) {
  Add(Kind::kRemove, path);
  return ForwardingFiles::Remove(path);
}

absl::Status RecordingFiles::SyncFolder(const std::string& path) {
  Add(Kind::kSyncFolder, path);
  return ForwardingFiles::SyncFolder(path);
}

std::vector<FileOperation> RecordingFiles::trace() const {
  MutexLock lock(&mutex_);
  return trace_;
}

void RecordingFiles::Add(Kind kind, const std::string& path, absl::string_view bytes) {
  MutexLock lock(&mutex_);
  trace_.push_back({kind, path, std::string(bytes)});
}

std::string RecordingFiles::PathOf(int file) {
  MutexLock lock(&mutex_);
  return open_.at(file);
}

std::map<std::string, std::string> AfterPowerCut(absl::Span<const FileOperation> done,
                                                 const PowerCut& cut) {
  Disk disk(done);
  for (size_t i = 0; i < disk.unsynced().size(); ++i) {
    if (cut.names >> std::min<size_t>(i, 63) & 1) disk.Keep(disk.unsynced()[i]);
  }
  return disk.Durable(cut.torn);
}

std::vector<PowerCut> PowerCuts(absl::Span<const FileOperation> done) {
  constexpr size_t kFew = 6;
  const size_t changes = std::min<size_t>(Disk(done).unsynced().size(), 63);
  const unsigned long long all = (1ull << changes) - 1;
  std::vector<unsigned long long> spared = {0, all};
  if (changes <= kFew) {
    for (unsigned long long names = 1; names < all; ++names) spared.push_back(names);
  } else {
    for (size_t i = 0; i < changes; ++i) {
      spared.insert(spared.end(), {1ull << i, all & ~(1ull << i), (1ull << i) - 1});
    }
  }
  std::vector<PowerCut> cuts;
  for (const unsigned long long names : spared) {
    cuts.push_back({.names = names, .torn = false});
    cuts.push_back({.names = names, .torn = true});
  }
  return cuts;
}

absl::Status Materialise(const std::map<std::string, std::string>& disk,
                         const std::string& recorded_root, const std::string& root) {
  for (const auto& [path, bytes] : disk) {
    if (!absl::StartsWith(path, recorded_root + "/")) continue;
    const std::string target = root + path.substr(recorded_root.size());
    std::error_code error;
    if (absl::EndsWith(path, "/")) {
      std::filesystem::create_directories(target, error);
      if (error) return absl::UnavailableError(error.message());
      continue;
    }
    std::filesystem::create_directories(FolderOf(target), error);
    std::ofstream file(target, std::ios::binary);
    file << bytes;
    if (!file.flush()) return absl::UnavailableError(target);
  }
  return absl::OkStatus();
}

}  // namespace sotto::checkpoint
