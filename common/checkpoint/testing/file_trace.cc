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

// What an opening of a file wrote; without bytes: zeros up to `begin`.
struct Written {
  int opened = 0;
  int64_t begin = 0;
  std::string bytes;

  // The first `most` bytes.
  void ApplyTo(std::string& contents, size_t most) const {
    const size_t count = std::min(bytes.size(), most);
    if (count == 0 && !bytes.empty()) return;
    contents.resize(std::max<size_t>(contents.size(), begin + count));
    contents.replace(begin, count, bytes, 0, count);
  }
};

// A file or a folder. Names point at nodes, so that a rename moves a folder with what is in it.
struct Node {
  bool is_folder = false;
  std::string synced;                                  // of a file, as the platters see it
  std::vector<Written> unsynced;                       // in order
  std::map<std::string, std::shared_ptr<Node>> names;  // of a folder
  std::map<std::string, std::shared_ptr<Node>> durable;

  // What one opening of the file wrote.
  void Sync(int opened) {
    std::vector<Written> left;
    for (Written& written : unsynced) {
      if (written.opened == opened) {
        written.ApplyTo(synced, written.bytes.size());
      } else {
        left.push_back(std::move(written));
      }
    }
    unsynced = std::move(left);
  }

  // With the first half of the bytes that were not synced.
  std::string Torn() const {
    size_t spared = 0;
    for (const Written& written : unsynced) spared += written.bytes.size();
    spared /= 2;
    std::string contents = synced;
    for (const Written& written : unsynced) {
      written.ApplyTo(contents, spared);
      spared -= std::min(spared, written.bytes.size());
    }
    return contents;
  }
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
      case Kind::kReserve:
      case Kind::kWrite:
        folder->names.at(name)->unsynced.push_back(
            {operation.opened, operation.begin, operation.bytes});
        return;
      case Kind::kSync:
        folder->names.at(name)->Sync(operation.opened);
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
      files[full] = torn ? node->Torn() : node->synced;
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
    case Kind::kReserve:
      return absl::StrCat("reserve ", operation.begin, " bytes for ", operation.path);
    case Kind::kWrite:
      return absl::StrCat("write ", operation.bytes.size(), " bytes to ", operation.path, " from ",
                          operation.begin, " on, opening ", operation.opened);
    case Kind::kSync:
      return absl::StrCat("sync ", operation.path, ", opening ", operation.opened);
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
  if (file.ok()) Remember(file->get(), path);
  return file;
}

absl::StatusOr<UniqueFd> RecordingFiles::Open(const std::string& path) {
  absl::StatusOr<UniqueFd> file = ForwardingFiles::Open(path);
  if (file.ok()) Remember(file->get(), path);
  return file;
}

absl::Status RecordingFiles::Reserve(int file, int64_t bytes) {
  AddTo(file, Kind::kReserve, "", bytes);
  return ForwardingFiles::Reserve(file, bytes);
}

absl::Status RecordingFiles::Write(int file, absl::string_view bytes) {
  AddTo(file, Kind::kWrite, bytes);
  return ForwardingFiles::Write(file, bytes);
}

absl::Status RecordingFiles::WriteAt(int file, int64_t begin, absl::string_view bytes) {
  AddTo(file, Kind::kWrite, bytes, begin);
  return ForwardingFiles::WriteAt(file, begin, bytes);
}

absl::Status RecordingFiles::Sync(int file) {
  AddTo(file, Kind::kSync);
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

void RecordingFiles::AddTo(int file, Kind kind, absl::string_view bytes,
                           std::optional<int64_t> begin) {
  MutexLock lock(&mutex_);
  Opening& open = open_.at(file);
  const int64_t from = begin.value_or(kind == Kind::kWrite ? open.end : 0);
  if (kind == Kind::kWrite && !begin.has_value()) open.end += static_cast<int64_t>(bytes.size());
  trace_.push_back({kind, open.path, std::string(bytes), from, open.number});
}

void RecordingFiles::Remember(int file, const std::string& path) {
  MutexLock lock(&mutex_);
  open_[file] = {.path = path, .number = ++openings_};
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
