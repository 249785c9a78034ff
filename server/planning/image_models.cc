#include "server/planning/image_models.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/planning/value_checks.h"

namespace sotto::planning {
namespace {

constexpr int64_t kMostChannels = 4096;
constexpr int64_t kMostPixels = 4096;  // of a side
constexpr int64_t kMostValues = int64_t{1} << 26;
constexpr int64_t kMostWidth = 1 << 16;
constexpr int64_t kMostOutputs = 1 << 20;
constexpr int64_t kMostLayers = 1024;
constexpr int32_t kDefaultGroups = 8;

// Fields of one family, by their names.
class FamilyFields {
 public:
  FamilyFields(const char* family, Rules& rules) : family_(family), rules_(rules) {}

  bool Within(const std::string& name, int64_t value, int64_t low, int64_t high) {
    return rules_.Require(IsWithin(value, low, high), Field(name),
                          absl::StrCat("must be ", low, " to ", high), value);
  }
  void Divides(const char* name, int64_t value, const char* of, int64_t whole) {
    rules_.Require(whole % value == 0, Field(name),
                   absl::StrCat("must divide the ", of, " ", whole), value);
  }
  bool Require(bool holds, const std::string& name, absl::string_view rule,
               const absl::AlphaNum& value) {
    return rules_.Require(holds, Field(name), rule, value);
  }
  void Optional(const char* name, double value, const Range& range) {
    Require(value == 0 || range.Has(value), name,
            absl::StrCat("must be positive, in ", range.text, ", or left out"), value);
  }
  void Outputs(int64_t outputs, v1::Loss loss) {
    Require(v1::Loss_IsValid(loss), "loss", "must be CLASSIFICATION or MEAN_SQUARED_ERROR",
            static_cast<int>(loss));
    Within("outputs", outputs, loss == v1::MEAN_SQUARED_ERROR ? 1 : 2, kMostOutputs);
  }
  // What ViT and DiT have.
  template <typename Spec>
  void Transformer(const Spec& spec) {
    const bool channels = Within("channels", spec.channels(), 1, kMostChannels);
    if (Within("image_size", spec.image_size(), 1, kMostPixels) && channels) {
      const int64_t values = int64_t{spec.channels()} * spec.image_size() * spec.image_size();
      Require(values <= kMostValues, "image_size", "must leave an image at most 2^26 values",
              spec.image_size());
    }
    if (Within("patch_size", spec.patch_size(), 1, kMostPixels)) {
      Divides("patch_size", spec.patch_size(), "image_size", spec.image_size());
    }
    Within("width", spec.width(), 1, kMostWidth);
    Within("layers", spec.layers(), 1, kMostLayers);
    if (Within("heads", spec.heads(), 1, kMostWidth)) {
      Divides("heads", spec.heads(), "width", spec.width());
    }
    Within("hidden_width", spec.hidden_width(), 0, 1 << 20);
    Optional("init_stddev", spec.init_stddev(), kInitStddev);
  }

 private:
  std::string Field(const std::string& name) const {
    return absl::StrCat("model.", family_, ".", name);
  }

  const char* family_;
  Rules& rules_;
};

void CheckMlp(const v1::MlpSpec& mlp, Rules& rules) {
  FamilyFields fields("mlp", rules);
  fields.Within("inputs", mlp.inputs(), 1, kMostValues);
  for (int i = 0; i < mlp.hidden_widths_size(); ++i) {
    fields.Within(absl::StrCat("hidden_widths[", i, "]"), mlp.hidden_widths(i), 1, kMostWidth);
  }
  fields.Require(mlp.hidden_widths_size() <= kMostLayers, "hidden_widths",
                 absl::StrCat("must be at most ", kMostLayers),
                 absl::StrCat("a list of ", mlp.hidden_widths_size()));
  fields.Outputs(mlp.outputs(), mlp.loss());
  fields.Require(v1::Activation_IsValid(mlp.activation()), "activation",
                 "must be a known activation", static_cast<int>(mlp.activation()));
}

void CheckCnn(const v1::CnnSpec& cnn, Rules& rules) {
  FamilyFields fields("cnn", rules);
  fields.Within("channels", cnn.channels(), 1, kMostChannels);
  fields.Within("height", cnn.height(), 1, kMostPixels);
  fields.Within("width", cnn.width(), 1, kMostPixels);
  fields.Outputs(cnn.outputs(), cnn.loss());
  fields.Require(IsWithin(cnn.stage_channels_size(), 1, 16), "stage_channels", "must be 1 to 16",
                 absl::StrCat("a list of ", cnn.stage_channels_size()));
  if (!fields.Within("groups", cnn.groups(), 0, kMostChannels)) return;
  const int32_t groups = cnn.groups() == 0 ? kDefaultGroups : cnn.groups();
  for (int i = 0; i < cnn.stage_channels_size(); ++i) {
    const std::string name = absl::StrCat("stage_channels[", i, "]");
    fields.Within(name, cnn.stage_channels(i), 1, kMostChannels);
    fields.Require(cnn.stage_channels(i) % groups == 0, name,
                   absl::StrCat("must be divisible by groups ", groups), cnn.stage_channels(i));
  }
}

// The shape that the model reads; an MLP takes any with its number of inputs.
std::vector<int32_t> ShapeOf(const v1::ModelSpec& model) {
  if (model.has_cnn()) {
    return {model.cnn().channels(), model.cnn().height(), model.cnn().width()};
  }
  if (model.has_vit()) {
    return {model.vit().channels(), model.vit().image_size(), model.vit().image_size()};
  }
  if (model.has_dit()) {
    return {model.dit().channels(), model.dit().image_size(), model.dit().image_size()};
  }
  return {1, 1, model.mlp().inputs()};
}

int64_t Product(const std::vector<int32_t>& shape) {
  int64_t product = 1;
  for (int32_t extent : shape) product *= extent;
  return product;
}

// Of the families that have a loss.
template <typename Spec>
void CheckWanted(const char* family, const Spec& spec, const v1::DatasetFacts& dataset,
                 Rules& rules) {
  const std::string field = absl::StrCat("model.", family, ".outputs");
  if (spec.loss() == v1::MEAN_SQUARED_ERROR) {
    if (!rules.Require(dataset.targets() > 0, "data.dataset",
                       "must have targets for MEAN_SQUARED_ERROR", "without targets")) {
      return;
    }
    rules.Require(spec.outputs() == dataset.targets(), field,
                  absl::StrCat("must be the dataset's ", dataset.targets(), " targets"),
                  spec.outputs());
    return;
  }
  if (!rules.Require(dataset.classes() > 0, "data.dataset", "must have labels for CLASSIFICATION",
                     "without labels")) {
    return;
  }
  rules.Require(spec.outputs() >= dataset.classes(), field,
                absl::StrCat("must be at least the dataset's ", dataset.classes(), " classes"),
                spec.outputs());
}

}  // namespace

bool IsImageModel(const v1::ModelSpec& model) {
  return model.has_mlp() || model.has_cnn() || model.has_vit() || model.has_dit();
}

bool IsClassifier(const v1::ModelSpec& model) {
  return model.has_encoder() || (model.has_mlp() && model.mlp().loss() != v1::MEAN_SQUARED_ERROR) ||
         (model.has_cnn() && model.cnn().loss() != v1::MEAN_SQUARED_ERROR) ||
         (model.has_vit() && model.vit().loss() != v1::MEAN_SQUARED_ERROR);
}

int32_t ClassesOf(const v1::ModelSpec& model) {
  if (!IsClassifier(model)) return 2;
  if (model.has_encoder()) return model.encoder().classes();
  if (model.has_mlp()) return model.mlp().outputs();
  return model.has_cnn() ? model.cnn().outputs() : model.vit().outputs();
}

void SetImageModelDefaults(v1::ModelSpec& model) {
  if (model.has_mlp()) {
    v1::MlpSpec& mlp = *model.mutable_mlp();
    if (mlp.activation() == v1::ACTIVATION_UNSPECIFIED) mlp.set_activation(v1::RELU);
    if (mlp.loss() == v1::LOSS_UNSPECIFIED) mlp.set_loss(v1::CLASSIFICATION);
  }
  if (model.has_cnn()) {
    v1::CnnSpec& cnn = *model.mutable_cnn();
    if (cnn.groups() == 0) cnn.set_groups(kDefaultGroups);
    if (cnn.loss() == v1::LOSS_UNSPECIFIED) cnn.set_loss(v1::CLASSIFICATION);
  }
  if (model.has_vit()) {
    v1::VitSpec& vit = *model.mutable_vit();
    if (vit.hidden_width() == 0) vit.set_hidden_width(4 * vit.width());
    if (vit.layer_norm_epsilon() == 0) vit.set_layer_norm_epsilon(1e-6);
    if (vit.init_stddev() == 0) vit.set_init_stddev(0.02);
    if (vit.loss() == v1::LOSS_UNSPECIFIED) vit.set_loss(v1::CLASSIFICATION);
  }
  if (model.has_dit()) {
    v1::DitSpec& dit = *model.mutable_dit();
    if (dit.hidden_width() == 0) dit.set_hidden_width(4 * dit.width());
    if (dit.time_steps() == 0) dit.set_time_steps(1000);
    if (dit.init_stddev() == 0) dit.set_init_stddev(0.02);
  }
}

void CheckImageModel(const v1::ModelSpec& model, Rules& rules) {
  if (model.has_mlp()) CheckMlp(model.mlp(), rules);
  if (model.has_cnn()) CheckCnn(model.cnn(), rules);
  if (model.has_vit()) {
    FamilyFields fields("vit", rules);
    fields.Transformer(model.vit());
    fields.Optional("layer_norm_epsilon", model.vit().layer_norm_epsilon(), kNormEpsilon);
    fields.Outputs(model.vit().outputs(), model.vit().loss());
  }
  if (model.has_dit()) {
    FamilyFields fields("dit", rules);
    fields.Transformer(model.dit());
    fields.Require(model.dit().width() % 2 == 0, "width",
                   "must be even (sines and cosines of the time step)", model.dit().width());
    fields.Within("classes", model.dit().classes(), 0, kMostOutputs);
    fields.Within("time_steps", model.dit().time_steps(), 0, 1 << 20);
  }
}

void CheckImageData(const v1::ModelSpec& model, const v1::DatasetFacts& dataset, Rules& rules) {
  const std::vector<int32_t> wanted = ShapeOf(model);
  const std::vector<int32_t> shape(dataset.image_shape().begin(), dataset.image_shape().end());
  const bool fits =
      !shape.empty() && (model.has_mlp() ? Product(shape) == Product(wanted) : shape == wanted);
  if (!rules.Require(
          fits, "data.dataset",
          absl::StrCat("must hold values of the model's shape ", absl::StrJoin(wanted, " x ")),
          shape.empty() ? "one of tokens" : absl::StrCat("one of ", absl::StrJoin(shape, " x ")))) {
    return;
  }
  if (model.has_mlp()) CheckWanted("mlp", model.mlp(), dataset, rules);
  if (model.has_cnn()) CheckWanted("cnn", model.cnn(), dataset, rules);
  if (model.has_vit()) CheckWanted("vit", model.vit(), dataset, rules);
  if (!model.has_dit() || model.dit().classes() == 0) return;
  rules.Require(dataset.classes() > 0 && model.dit().classes() >= dataset.classes(),
                "model.dit.classes",
                absl::StrCat("must be at least the dataset's ", dataset.classes(),
                             " classes, or left out where it has none"),
                model.dit().classes());
}

}  // namespace sotto::planning
