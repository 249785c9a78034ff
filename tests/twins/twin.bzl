"""Twins: a privacy property's test must fail when the property is broken in the real source."""

load("//bazel:defs.bzl", "sotto_cc_binary")

def twin_test(name, source, patch, test, case, deps, data = [], size = "small", gtest_main = True):
    """Patches a production source, builds its test with it, and expects the named case to fail by assertion.

    The patched object defines what the archive member of the real library would, so that the linker takes the twin.
    A patch that does not apply fails the build. A crash, or a case that passes or does not exist, fails the test.

    Args:
      name: what is broken, e.g. "no_noise".
      source: label of the .cc file, exported by its package.
      patch: unified diff of that file (paths are ignored).
      test: label of the test's source, exported by its package; or a list of them.
      case: "Suite.Case" that must fail.
      deps: what the test depends on.
      gtest_main: False when the test has its own main.
    """
    twin = name + "_twin.cc"
    native.genrule(
        name = name + "_source",
        testonly = True,
        srcs = [source, patch],
        outs = [twin],
        cmd = "patch --quiet --fuzz=0 --output=$@ $(location %s) $(location %s)" % (source, patch),
    )
    sotto_cc_binary(
        name = name + "_binary",
        testonly = True,
        srcs = [twin] + (test if type(test) == type([]) else [test]),
        linkstatic = True,
        deps = deps + ["@gtest//:gtest_main" if gtest_main else "@gtest//:gtest"],
    )
    native.sh_test(
        name = name,
        size = size,
        srcs = ["run_twin.sh"],
        args = ["$(location :%s_binary)" % name, case],
        data = [":%s_binary" % name] + data,
    )
