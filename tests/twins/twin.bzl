"""Twins: a privacy property's test must fail when the property is broken in the real source."""

load("//bazel:defs.bzl", "sotto_cc_binary", "sotto_cc_library")

def twin_cases(name, srcs, deps):
    """A test's cases as a library, compiled once for all the twins that run them.

    Args:
      name: of the library.
      srcs: the test's sources, exported by its package.
      deps: what the test depends on.
    """
    sotto_cc_library(
        name = name,
        testonly = True,
        srcs = srcs,
        visibility = ["//tests/twins:__subpackages__"],
        alwayslink = True,
        deps = deps + ["@gtest"],
    )

def twin_test(name, source, cases, case, says, size = "small", copts = [], gtest_main = True):
    """Patches a production source, links a test with it, and expects the named case to fail by assertion.

    The patch is NAME.patch, a unified diff. The patched object defines what the archive member of the real library
    would, so that the linker takes the twin's; both at once would not link. A patch that does not apply fails the build.
    A crash, a case that passes or does not exist, and a failure that says something else fail the test.

    Args:
      name: what is broken, e.g. "no_noise".
      source: label of the .cc file, exported by its package.
      cases: the twin_cases that hold the case.
      case: "Suite.Case" that must fail.
      says: words of the failure, such as the expression that does not hold.
      copts: those of the source's library.
      gtest_main: False when the test has its own main.
    """
    twin = name + "_twin.cc"
    patch = name + ".patch"
    native.genrule(
        name = name + "_source",
        testonly = True,
        srcs = [source, patch],
        outs = [twin],
        cmd = "patch --quiet --forward --fuzz=0 --reject-file=- --output=$@ $(location %s) $(location %s)" %
              (source, patch),
    )
    sotto_cc_binary(
        name = name + "_binary",
        testonly = True,
        srcs = [twin],
        copts = copts,
        linkstatic = True,
        deps = [cases] + (["@gtest//:gtest_main"] if gtest_main else []),
    )
    native.sh_test(
        name = name,
        size = size,
        srcs = ["//tests/twins:run_twin.sh"],
        args = ["$(location :%s_binary)" % name, case, "'%s'" % says],
        data = [":%s_binary" % name],
    )
