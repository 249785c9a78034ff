"""Wirings that the types must refuse."""

load("@bazel_tools//tools/build_defs/cc:action_names.bzl", "CPP_COMPILE_ACTION_NAME")
load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def _compile_outcome_impl(ctx):
    toolchain = find_cpp_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )
    context = cc_common.merge_cc_infos(cc_infos = [dep[CcInfo] for dep in ctx.attr.deps]).compilation_context
    variables = cc_common.create_compile_variables(
        feature_configuration = features,
        cc_toolchain = toolchain,
        user_compile_flags = ctx.attr.copts,
        include_directories = context.includes,
        quote_include_directories = context.quote_includes,
        system_include_directories = context.system_includes,
        preprocessor_defines = depset(transitive = [context.defines]),
    )
    flags = cc_common.get_memory_inefficient_command_line(
        feature_configuration = features,
        action_name = CPP_COMPILE_ACTION_NAME,
        variables = variables,
    )
    compiler = cc_common.get_tool_for_action(
        feature_configuration = features,
        action_name = CPP_COMPILE_ACTION_NAME,
    )
    outcome = ctx.actions.declare_file(ctx.label.name + ".txt")
    arguments = ctx.actions.args()
    arguments.add_all([outcome.path, compiler])
    arguments.add_all(flags)
    arguments.add_all(["-fsyntax-only", ctx.file.src])
    ctx.actions.run_shell(
        command = 'out=$1; shift; LC_ALL=C "$@" >"$out" 2>&1; echo "exit $?" >>"$out"',
        arguments = [arguments],
        inputs = depset([ctx.file.src], transitive = [context.headers, toolchain.all_files]),
        outputs = [outcome],
        mnemonic = "CompileOutcome",
        progress_message = "Compiling %s for what the compiler says" % ctx.label,
    )
    return [DefaultInfo(files = depset([outcome]), runfiles = ctx.runfiles([outcome]))]

# What the compiler says of `src`, then "exit CODE": a refusal is an outcome, not a failed build.
_compile_outcome = rule(
    implementation = _compile_outcome_impl,
    attrs = {
        "copts": attr.string_list(),
        "deps": attr.label_list(providers = [CcInfo]),
        "src": attr.label(allow_single_file = [".cc"], mandatory = True),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)

def must_not_compile_test(name, src, right, wrong, says, deps):
    """Compiles `src` twice; with `right` it must compile, with `wrong` the compiler must refuse it.

    Args:
      name: of the test.
      src: the snippet; right and wrong differ in one word of it.
      right: a preprocessor definition, such as "Gradient=NoisedGradient".
      wrong: another.
      says: regular expression of the only error.
      deps: what the snippet includes.
    """
    for outcome, definition in [("right", right), ("wrong", wrong)]:
        _compile_outcome(
            name = "%s_%s" % (name, outcome),
            testonly = True,
            src = src,
            copts = ["-std=c++20", "-D" + definition],
            deps = deps,
        )
    native.sh_test(
        name = name,
        size = "small",
        srcs = ["check_outcomes.sh"],
        args = [
            "$(location :%s_right)" % name,
            "$(location :%s_wrong)" % name,
            "'%s'" % says,
        ],
        data = [
            ":%s_right" % name,
            ":%s_wrong" % name,
        ],
    )
