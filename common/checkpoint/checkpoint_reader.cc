#include "common/checkpoint/checkpoint_reader.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/files.h"
#include "common/base/status_macros.h"
#include "common/checkpoint/checkpoint_folder.h"
#include "common/crypto/sha256.h"

namespace sotto::checkpoint {
namespace {

absl::Status Damaged(const std::string& path, absl::string_view why) {
  return absl::DataLossError(absl::StrCat(path, " is damaged: ", why));
}

absl::StatusOr<v1::CheckpointManifest> ParseManifest(const std::string& directory) {
  const std::string path = absl::StrCat(directory, "/", kManifestFile);
  absl::StatusOr<std::string> json = ReadFile(path);
  if (absl::IsNotFound(json.status())) return json.status();
  if (!json.ok()) return Damaged(path, json.status().message());
  v1::CheckpointManifest manifest;
  if (!google::protobuf::util::JsonStringToMessage(*json, &manifest).ok()) {
    return Damaged(path, "it is not a manifest");
  }
  if (manifest.format_version() != kFormatVersion) {
    return Damaged(path, absl::StrCat("format_version must be ", kFormatVersion, ", but is ",
                                      manifest.format_version()));
  }
  return manifest;
}

// One file per rank, in the order of ranks; every unit divides into that many shards and holds its
// tensors.
absl::Status CheckManifest(const std::string& directory, const v1::CheckpointManifest& manifest) {
  const std::string path = absl::StrCat(directory, "/", kManifestFile);
  if (manifest.world_size() < 1 || manifest.files_size() != manifest.world_size()) {
    return Damaged(path, "it does not name one file per rank");
  }
  for (int rank = 0; rank < manifest.world_size(); ++rank) {
    const v1::CheckpointFile& file = manifest.files(rank);
    if (file.rank() != rank || file.name() != ShardFileName(rank, manifest.world_size())) {
      return Damaged(path, absl::StrCat("its file ", rank, " is not rank ", rank, "'s"));
    }
  }
  for (const v1::CheckpointUnit& unit : manifest.units()) {
    if (unit.padded_elements() < 0 || unit.padded_elements() % manifest.world_size() != 0) {
      return Damaged(path, absl::StrCat("unit ", unit.name(), " does not divide into shards"));
    }
    for (const v1::CheckpointTensor& tensor : unit.tensors()) {
      int64_t elements = 1;
      for (const int64_t extent : tensor.shape()) {
        if (extent < 0 || __builtin_mul_overflow(elements, extent, &elements)) elements = -1;
        if (elements < 0) break;
      }
      if (elements < 0 || tensor.offset() < 0 || elements > unit.padded_elements() ||
          tensor.offset() > unit.padded_elements() - elements) {
        return Damaged(path, absl::StrCat("tensor ", tensor.name(), " lies outside of its unit"));
      }
    }
  }
  return absl::OkStatus();
}

// Hashes the whole file.
absl::Status CheckFile(const std::string& path, const v1::CheckpointFile& file) {
  const absl::StatusOr<std::string> sha256 = crypto::HexSha256OfFile(path);
  if (!sha256.ok()) return Damaged(path, sha256.status().message());
  if (*sha256 != file.sha256()) return Damaged(path, "its SHA-256 is not the manifest's");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::CheckpointManifest> ReadManifest(const std::string& directory) {
  ASSIGN_OR_RETURN(v1::CheckpointManifest manifest, ParseManifest(directory));
  RETURN_IF_ERROR(CheckManifest(directory, manifest));
  return manifest;
}

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& directory) {
  ASSIGN_OR_RETURN(CheckpointHold hold, CheckpointHold::ToRead(directory));
  ASSIGN_OR_RETURN(v1::CheckpointManifest manifest, ReadManifest(directory));
  auto checkpoint =
      std::unique_ptr<Checkpoint>(new Checkpoint(directory, std::move(hold), std::move(manifest)));
  RETURN_IF_ERROR(checkpoint->OpenFiles());
  return checkpoint;
}

absl::Status Checkpoint::OpenFiles() {
  std::set<std::string> expected;  // tensors of rank 0, which every rank must have
  for (const v1::CheckpointFile& file : manifest_.files()) {
    const std::string path = absl::StrCat(directory_, "/", file.name());
    RETURN_IF_ERROR(CheckFile(path, file));
    absl::StatusOr<std::unique_ptr<SafetensorsReader>> reader = SafetensorsReader::Open(path);
    if (!reader.ok()) return Damaged(path, reader.status().message());

    std::set<std::string> names;
    for (const SafetensorsEntry& entry : (*reader)->header().entries) names.insert(entry.name);
    if (files_.empty()) expected = names;
    if (names != expected) return Damaged(path, "it does not hold the tensors of rank 0's file");
    for (const v1::CheckpointUnit& unit : manifest_.units()) {
      const int64_t shard = unit.padded_elements() / manifest_.world_size();
      for (const SafetensorsEntry& entry : (*reader)->header().entries) {
        if (entry.name.rfind(ShardTensorName(unit.name(), ""), 0) != 0) continue;
        if (entry.dtype != "F32" || entry.num_elements() != shard) {
          return Damaged(path, absl::StrCat(entry.name, " is not a shard of its unit"));
        }
      }
    }
    files_.push_back(*std::move(reader));
  }
  return absl::OkStatus();
}

absl::Status Checkpoint::Read(const std::string& unit, const std::string& kind, int64_t begin,
                              absl::Span<float> values) const {
  const auto found =
      std::find_if(manifest_.units().begin(), manifest_.units().end(),
                   [&](const v1::CheckpointUnit& candidate) { return candidate.name() == unit; });
  const std::string name = ShardTensorName(unit, kind);
  if (found == manifest_.units().end() || files_.front()->Find(name) == nullptr) {
    return absl::NotFoundError(absl::StrCat(directory_, " has no ", name));
  }
  if (begin < 0) return absl::InvalidArgumentError(absl::StrCat("begin is negative: ", begin));
  const int64_t padded = found->padded_elements();
  const int64_t shard = padded / manifest_.world_size();
  while (!values.empty()) {
    const int64_t wanted = values.size();
    if (begin >= padded) {
      std::fill(values.begin(), values.end(), 0.0f);
      return absl::OkStatus();
    }
    const int64_t within = begin % shard;
    const int64_t count = std::min(wanted, shard - within);
    RETURN_IF_ERROR(files_[begin / shard]->ReadFloats(name, within, values.subspan(0, count)));
    values.remove_prefix(count);
    begin += count;
  }
  return absl::OkStatus();
}

absl::StatusOr<FoundCheckpoint> FindLatestCheckpoint(const std::string& root) {
  std::vector<CheckpointName> names = ListCheckpoints(root);
  FoundCheckpoint found;
  const absl::StatusOr<std::string> latest = ReadFile(absl::StrCat(root, "/", kLatestFile));
  if (latest.ok()) {
    const auto name = ParseDirectoryName(absl::StripSuffix(*latest, "\n"));
    const auto listed =
        name.has_value() ? std::find(names.begin(), names.end(), *name) : names.end();
    if (listed != names.end()) {
      std::rotate(names.begin(), listed, listed + 1);
    } else {
      found.notes.push_back("the latest pointer names no checkpoint that is there");
    }
  }
  if (names.empty()) return absl::NotFoundError(absl::StrCat(root, " holds no checkpoint"));
  for (const CheckpointName& name : names) {
    absl::StatusOr<std::unique_ptr<Checkpoint>> opened =
        Checkpoint::Open(absl::StrCat(root, "/", DirectoryName(name)));
    if (opened.ok()) {
      found.checkpoint = *std::move(opened);
      return found;
    }
    found.notes.push_back(absl::StrCat("checkpoint ", DirectoryName(name),
                                       " was passed over: ", opened.status().message()));
  }
  return absl::DataLossError(absl::StrCat("every checkpoint in ", root, " is damaged; newest: ",
                                          found.notes[found.notes.size() - names.size()]));
}

}  // namespace sotto::checkpoint
