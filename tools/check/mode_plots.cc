#include "tools/check/mode_plots.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "tools/check/gnuplot.h"

namespace sotto::check {
namespace {

using StepValue = std::function<double(const RecordedStep&)>;

constexpr const char* kColours[] = {"#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f",
                                    "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#bab0ac"};
constexpr int kPointTypes[] = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12};

// What a logarithmic axis shows in the place of zero.
constexpr double kFloor = 1e-9;

struct Curve {
  std::string label;
  bool clips = true;
  const RecordedRun* run = nullptr;
  const RecordedRun* oracle = nullptr;
};

std::vector<Curve> CurvesOf(const ModeComparison& comparison) {
  std::vector<Curve> curves;
  for (const ModeOutcome& outcome : comparison.outcomes) {
    if (!outcome.status.ok()) continue;
    const auto& oracle = outcome.clips ? comparison.clipped_oracle : comparison.unclipped_oracle;
    curves.push_back({outcome.mode.Label(), outcome.clips, &outcome.run, &*oracle});
  }
  return curves;
}

// "$curveN << EOD": step, value, distance from the oracle's value.
std::string DataBlocks(const std::vector<Curve>& curves, const StepValue& value) {
  std::string text;
  for (size_t c = 0; c < curves.size(); ++c) {
    absl::StrAppendFormat(&text, "$curve%d << EOD\n", c);
    for (size_t i = 0; i < curves[c].run->steps.size(); ++i) {
      const double own = value(curves[c].run->steps[i]);
      const double difference = std::abs(own - value(curves[c].oracle->steps[i]));
      absl::StrAppendFormat(&text, "%d %.17g %.17g\n", i + 1, own, std::max(difference, kFloor));
    }
    text += "EOD\n";
  }
  return text;
}

std::string OracleBlock(const char* name, const RecordedRun& run, const StepValue& value) {
  std::string text = absl::StrCat("$", name, " << EOD\n");
  for (size_t i = 0; i < run.steps.size(); ++i) {
    absl::StrAppendFormat(&text, "%d %.17g\n", i + 1, value(run.steps[i]));
  }
  return text + "EOD\n";
}

std::string OracleBlocks(const ModeComparison& comparison, const StepValue& value) {
  std::string text;
  if (comparison.clipped_oracle) {
    text += OracleBlock("clipped", *comparison.clipped_oracle, value);
  }
  if (comparison.unclipped_oracle) {
    text += OracleBlock("unclipped", *comparison.unclipped_oracle, value);
  }
  return text;
}

// Curves that lie on one another are drawn the widest first, so that each shows.
std::string Style(size_t index, size_t count) {
  const double width =
      count <= 1 ? 2 : 9 - 7.5 * static_cast<double>(index) / static_cast<double>(count - 1);
  return absl::StrFormat("lw %.1f lc rgb '%s'", width, kColours[index % std::size(kColours)]);
}

// When the colours begin again the lines are dashed.
std::string PointStyle(size_t index) {
  return absl::StrFormat(
      "lw 1.5 dt %d pt %d ps 0.8 lc rgb '%s'", static_cast<int>(index / std::size(kColours)) + 1,
      kPointTypes[index % std::size(kPointTypes)], kColours[index % std::size(kColours)]);
}

std::string Header(const std::string& path, int width, int height) {
  return absl::StrFormat(
      "set terminal pngcairo size %d,%d enhanced font 'Sans,11' background '#ffffff'\n"
      "set output %s\n"
      "set border 3 lc rgb '#606060'\nset tics nomirror\nset grid lc rgb '#e4e4e4' lt 1 lw 1\n"
      "set key outside right top Left reverse samplen 3 spacing 1.15 noenhanced\n",
      width, height, GnuplotQuoted(path));
}

// Values above, their distance from fp64 with the limit below.
std::string SeriesScript(const ModeComparison& comparison, const std::string& path,
                         const std::string& title, const std::string& axis, double limit,
                         const StepValue& value) {
  const std::vector<Curve> curves = CurvesOf(comparison);
  std::string script = Header(path, 1100, 800);
  absl::StrAppend(&script, DataBlocks(curves, value), OracleBlocks(comparison, value));
  const auto steps = static_cast<int64_t>(comparison.preset.settings.steps);
  absl::StrAppendFormat(&script, "set xrange [0.5:%f]\n", static_cast<double>(steps) + 0.5);
  if (steps <= 25) absl::StrAppend(&script, "set xtics 1\n");
  // Both panels share their left and right border.
  absl::StrAppend(&script, "set multiplot\nset lmargin at screen 0.085\n",
                  "set rmargin at screen 0.775\nset format y '%g'\n");
  absl::StrAppendFormat(&script,
                        "set tmargin at screen 0.94\nset bmargin at screen 0.46\n"
                        "set title %s font 'Sans,13' noenhanced\nset ylabel %s noenhanced\n",
                        GnuplotQuoted(title), GnuplotQuoted(axis));
  std::vector<std::string> parts;
  for (size_t c = 0; c < curves.size(); ++c) {
    parts.push_back(absl::StrFormat("$curve%d using 1:2 with lines %s title %s", c,
                                    Style(c, curves.size()), GnuplotQuoted(curves[c].label)));
  }
  if (comparison.clipped_oracle) {
    parts.push_back(
        "$clipped using 1:2 with points pt 6 ps 1.3 lw 1.5 lc rgb '#000000' title 'fp64 oracle'");
  }
  if (comparison.unclipped_oracle) {
    parts.push_back(
        "$unclipped using 1:2 with points pt 4 ps 1.3 lw 1.5 lc rgb '#000000' "
        "title 'fp64 oracle, unclipped'");
  }
  absl::StrAppend(&script, "plot ", absl::StrJoin(parts, ", "), "\n");
  absl::StrAppendFormat(
      &script,
      "set tmargin at screen 0.36\nset bmargin at screen 0.08\nset title\nunset key\n"
      "set logscale y\nset format y '10^{%%T}'\nset yrange [%g:%g]\nset xlabel 'step'\n"
      "set ylabel 'distance from fp64'\n",
      kFloor / 2, limit * 10);
  parts = {absl::StrFormat("%.17g with lines dt 2 lw 1.5 lc rgb '#b00000' notitle", limit)};
  for (size_t c = 0; c < curves.size(); ++c) {
    parts.push_back(
        absl::StrFormat("$curve%d using 1:3 with linespoints %s notitle", c, PointStyle(c)));
  }
  absl::StrAppendFormat(&script,
                        "set label 1 'limit' at graph 0.005, first %g offset 0,0.6 tc rgb "
                        "'#b00000'\n",
                        limit);
  absl::StrAppend(&script, "plot ", absl::StrJoin(parts, ", "), "\nunset multiplot\n");
  return script;
}

std::string DistanceScript(const ModeComparison& comparison, const std::string& path) {
  const std::vector<Curve> curves = CurvesOf(comparison);
  std::string script = Header(path, 1100, 520);
  absl::StrAppend(&script, DataBlocks(curves, [](const RecordedStep& step) {
    return std::max(step.parameter_distance / step.parameter_norm, 1e-12);
  }));
  absl::StrAppend(&script,
                  "set title 'Distance of the parameters from fp64, over their norm' font "
                  "'Sans,13' noenhanced\nset logscale y\nset format y '10^{%T}'\n",
                  "set xlabel 'step'\nset ylabel '|w - w_{fp64}| / |w|'\nset lmargin 11\n");
  std::vector<std::string> parts;
  for (size_t c = 0; c < curves.size(); ++c) {
    parts.push_back(absl::StrFormat("$curve%d using 1:2 with linespoints %s title %s", c,
                                    PointStyle(c), GnuplotQuoted(curves[c].label)));
  }
  absl::StrAppend(&script, "plot ", absl::StrJoin(parts, ", "), "\n");
  return script;
}

// Bars of the final losses; what they differ by is written on them, for the eye sees nothing.
std::string BarsScript(const ModeComparison& comparison, const std::string& path) {
  const std::vector<Curve> curves = CurvesOf(comparison);
  std::string script = Header(path, 1100, 560);
  absl::StrAppend(&script, "$bars << EOD\n");
  double largest = 0;
  for (size_t c = 0; c < curves.size(); ++c) {
    const double loss = curves[c].run->FinalLoss();
    largest = std::max(largest, loss);
    absl::StrAppendFormat(&script, "%d %.17g \"%s\" \"%+.1e\" %d\n", c, loss, curves[c].label,
                          loss - curves[c].oracle->FinalLoss(), curves[c].clips ? 0 : 1);
  }
  absl::StrAppendFormat(
      &script,
      "EOD\nset title 'Final loss; on each bar its difference from the fp64 oracle' font 'Sans,13' "
      "noenhanced\nset style fill solid 0.85 noborder\nset boxwidth 0.7\nset yrange [0:%g]\n"
      "set xrange [-0.7:%g]\nset xtics rotate by 35 right noenhanced\nset ylabel 'loss of the last "
      "step'\nset grid noxtics\nunset key\nset rmargin 3\nset bmargin 8\n",
      1.12 * largest, static_cast<double>(curves.size()) - 0.3);
  absl::StrAppend(&script,
                  "plot $bars using 1:2:($5 == 1 ? 0xbab0ac : 0x4e79a7):xtic(3) with boxes lc rgb "
                  "variable, $bars using 1:2:4 with labels offset 0,0.8 font 'Sans,9' "
                  "noenhanced\n");
  return script;
}

// For the terminal: the first mode of each kind, which the others lie on, and the oracle.
std::string DumbSeries(const ModeComparison& comparison, int columns, const std::string& title,
                       const StepValue& value) {
  std::vector<Curve> curves;
  for (const Curve& curve : CurvesOf(comparison)) {
    const bool seen = std::any_of(curves.begin(), curves.end(),
                                  [&](const Curve& other) { return other.clips == curve.clips; });
    if (!seen) curves.push_back(curve);
  }
  std::string script = absl::StrFormat("set terminal dumb noenhanced size %d,16\n", columns);
  absl::StrAppend(&script, DataBlocks(curves, value));
  absl::StrAppendFormat(&script,
                        "set title %s\nset tics nomirror\nset border 3\nset key outside top "
                        "center horizontal\nset format y '%%.4g'\n",
                        GnuplotQuoted(title));
  std::vector<std::string> parts;
  constexpr const char* kMarks[] = {"*", "o"};
  for (size_t c = 0; c < curves.size(); ++c) {
    parts.push_back(absl::StrFormat("$curve%d using 1:2 with points pt '%s' title %s", c,
                                    kMarks[c % 2], GnuplotQuoted(curves[c].label)));
  }
  absl::StrAppend(&script, "plot ", absl::StrJoin(parts, ", "), "\n");
  return script;
}

std::string DumbDistance(const ModeComparison& comparison, int columns) {
  const std::vector<Curve> curves = CurvesOf(comparison);
  std::string script = absl::StrFormat("set terminal dumb noenhanced size %d,18\n", columns);
  absl::StrAppend(&script, DataBlocks(curves, [](const RecordedStep& step) {
    return std::max(step.parameter_distance / step.parameter_norm, 1e-12);
  }));
  absl::StrAppend(&script,
                  "set title 'distance of the parameters from fp64, over their norm'\nset logscale "
                  "y\nset format y '%.0e'\nset border 3\nset tics nomirror\nset key outside right "
                  "top Left\n");
  std::vector<std::string> parts;
  for (size_t c = 0; c < curves.size(); ++c) {
    parts.push_back(absl::StrFormat("$curve%d using 1:2 with points pt '%c' title %s", c,
                                    static_cast<char>('a' + c % 26),
                                    GnuplotQuoted(curves[c].label)));
  }
  return absl::StrCat(script, "plot ", absl::StrJoin(parts, ", "), "\n");
}

std::string TerminalBars(const ModeComparison& comparison, int columns) {
  const std::vector<Curve> curves = CurvesOf(comparison);
  double largest = 0;
  for (const Curve& curve : curves) largest = std::max(largest, curve.run->FinalLoss());
  const int widest = std::max(10, columns - 42);
  std::string text = "final loss, and its difference from fp64\n";
  for (const Curve& curve : curves) {
    const double loss = curve.run->FinalLoss();
    const int eighths =
        largest > 0 ? static_cast<int>(std::lround(8 * widest * loss / largest)) : 0;
    std::string bar;
    for (int i = 0; i < eighths / 8; ++i) bar += "█";
    constexpr const char* kParts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    bar += kParts[eighths % 8];
    absl::StrAppendFormat(&text, "%-20s %s %.6f %+.1e\n", curve.label, bar, loss,
                          loss - curve.oracle->FinalLoss());
  }
  return text;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> WriteModePlots(const ModeComparison& comparison,
                                                        const std::string& directory) {
  const std::vector<std::string> paths = {
      directory + "/loss_trajectory.png", directory + "/gradient_norm_comparison.png",
      directory + "/parameter_distance.png", directory + "/final_loss_comparison.png"};
  if (CurvesOf(comparison).empty()) return std::vector<std::string>();
  const std::vector<std::string> scripts = {
      SeriesScript(comparison, paths[0], "Loss of each step, every gradient mode", "mean loss",
                   comparison.tolerance.loss, [](const RecordedStep& step) { return step.loss; }),
      SeriesScript(comparison, paths[1], "Norm of the gradient before noise, every gradient mode",
                   "gradient norm", comparison.tolerance.gradient_norm,
                   [](const RecordedStep& step) { return step.gradient_norm; }),
      DistanceScript(comparison, paths[2]), BarsScript(comparison, paths[3])};
  for (const std::string& script : scripts) RETURN_IF_ERROR(RunGnuplot(script).status());
  return paths;
}

absl::StatusOr<std::string> TerminalModePlots(const ModeComparison& comparison, int columns) {
  if (CurvesOf(comparison).empty()) return std::string();
  std::string text;
  for (const std::string& script :
       {DumbSeries(comparison, columns, "loss", [](const RecordedStep& step) { return step.loss; }),
        DumbSeries(comparison, columns, "gradient norm",
                   [](const RecordedStep& step) { return step.gradient_norm; }),
        DumbDistance(comparison, columns)}) {
    ASSIGN_OR_RETURN(const std::string plot, RunGnuplot(script));
    text += plot;
  }
  return text + "\n" + TerminalBars(comparison, columns);
}

}  // namespace sotto::check
