#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "bench/mode_report.h"
#include "bench/mode_rows.h"
#include "tools/check/gnuplot.h"

namespace sotto::bench {
namespace {

// Where every mode was measured there are at least this many.
constexpr size_t kManyContenders = 8;

struct Curve {
  std::string title;
  std::map<int64_t, Spread> ratio_by_tokens;
};

// The best fixed mode and auto, by model.
std::vector<Curve> CurvesOf(const std::vector<MeasuredShape>& measured) {
  std::map<std::string, Curve> curves;
  for (const MeasuredShape& shape : measured) {
    for (const ModeRow& row : RowsOf(shape)) {
      if (row.is_peer || row.name == "no_dp" || std::isnan(row.ratio_to_no_dp.median)) continue;
      const std::string kind = row.name == "auto" ? "auto" : "best mode";
      Curve& curve = curves[absl::StrCat(shape.shape.model, ", ", kind)];
      curve.title = absl::StrCat(shape.shape.model, ", ", kind);
      Spread& ratio = curve.ratio_by_tokens[shape.shape.tokens];
      if (row.ratio_to_no_dp.median > ratio.median) ratio = row.ratio_to_no_dp;
    }
  }
  std::vector<Curve> result;
  for (auto& [title, curve] : curves) result.push_back(std::move(curve));
  return result;
}

std::string CurvePlot(const std::vector<Curve>& curves) {
  std::string script;
  std::vector<std::string> parts;
  for (size_t i = 0; i < curves.size(); ++i) {
    absl::StrAppend(&script, "$curve", i, " << EOD\n");
    for (const auto& [tokens, ratio] : curves[i].ratio_by_tokens) {
      // Side by side: the whiskers would cover one another.
      const double shifted = static_cast<double>(tokens) * (1 + 0.03 * static_cast<double>(i));
      absl::StrAppend(&script, shifted, " ", ratio.median, " ", ratio.low, " ", ratio.high, "\n");
    }
    absl::StrAppend(&script, "EOD\n");
    parts.push_back(absl::StrCat("$curve", i, " using 1:2:3:4 with yerrorlines title ",
                                 check::GnuplotQuoted(curves[i].title)));
  }
  return absl::StrCat(
      script,
      "set title 'DP over no_dp, tokens per second'\nset xlabel 'tokens of an "
      "example'\nset logscale x 2\nset xrange [56:1300]\nset xtics (64, 128, 256, 512, "
      "1024)\nset yrange [0.5:1.05]\nset key bottom right\nplot ",
      absl::StrJoin(parts, ", "),
      "\nunset logscale x\nset autoscale x\nset xtics autofreq\nunset key\n");
}

std::string BarPlot(const MeasuredShape& shape) {
  std::string script = "$bars << EOD\n";
  for (const ModeRow& row : RowsOf(shape)) {
    const Spread& ratio = row.ratio_to_no_dp;
    if (std::isnan(ratio.median)) continue;
    absl::StrAppend(&script, check::GnuplotDoubleQuoted(row.name), " ", ratio.median, " ",
                    ratio.low, " ", ratio.high, "\n");
  }
  return absl::StrCat(
      script, "EOD\nset title ",
      check::GnuplotQuoted(absl::StrCat(shape.shape.model, ", T=", shape.shape.tokens,
                                        ": tokens per second over no_dp, quartiles")),
      "\nunset xlabel\nset yrange [0:1.2]\nset style fill solid 0.6\nset boxwidth 0.7\nset xtics "
      "rotate by -45\nplot $bars using 0:2:xtic(1) with boxes lc 3, '' using "
      "0:2:3:4 with yerrorbars pt 0 lc 'black', '' using "
      "0:4:(sprintf('%.2f', $2)) with labels font ',9' offset 0,0.6\nset xtics norotate\n");
}

}  // namespace

absl::Status WritePlot(const std::vector<MeasuredShape>& measured, const std::string& path) {
  std::vector<std::string> plots = {CurvePlot(CurvesOf(measured))};
  for (const MeasuredShape& shape : measured) {
    if (shape.contenders.size() >= kManyContenders) plots.push_back(BarPlot(shape));
  }
  const std::string script = absl::StrCat(
      "set terminal pngcairo noenhanced size ", 720 * plots.size(), ",480\nset output ",
      check::GnuplotQuoted(path), "\nset multiplot layout 1,", plots.size(),
      "\nset grid y\nset rmargin 8\n", absl::StrJoin(plots, ""), "unset multiplot\nset output\n");
  return check::RunGnuplot(script).status();
}

}  // namespace sotto::bench
