"""The project's rules: compiler options live here, once."""

_COPTS = [
    "-std=c++20",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Wno-missing-field-initializers",
    "-Wno-sign-compare",
    "-Wnon-virtual-dtor",
    "-fno-strict-aliasing",
]

# Generated sources are not ours to keep free of warnings.
_GENERATED_COPTS = [
    "-std=c++20",
    "-w",
]

def sotto_cc_library(name, copts = [], **kwargs):
    """cc_library with the project's options."""

    # Archives only: shared ones would compile everything a second time, as position-independent code.
    native.cc_library(name = name, copts = _COPTS + copts, linkstatic = True, **kwargs)

def sotto_cc_binary(name, copts = [], **kwargs):
    """cc_binary with the project's options."""
    native.cc_binary(name = name, copts = _COPTS + copts, **kwargs)

def sotto_cc_test(name, size, deps = [], copts = [], gtest_main = True, **kwargs):
    """cc_test with the project's options and GoogleTest.

    Args:
      gtest_main: False when the test has its own main (processes spawned from the test binary).
    """
    main = "@gtest//:gtest_main" if gtest_main else "@gtest//:gtest"
    native.cc_test(
        name = name,
        size = size,
        copts = _COPTS + copts,
        # Our own libraries as archives: --as-needed then sees every user of a system library, and a test's object can
        # take the place of an archive's (tests/twins).
        linkstatic = True,
        deps = deps + [main],
        **kwargs
    )

ProtoSources = provider(
    doc = "Sources of a sotto_proto_library and of what it imports.",
    fields = {
        "roots": "depset of import roots",
        "sources": "depset of .proto files",
    },
)

def _protoc_impl(ctx):
    workspace_root = ctx.label.workspace_root
    root = workspace_root or "."
    roots = depset([root], transitive = [dep[ProtoSources].roots for dep in ctx.attr.deps])
    sources = depset(ctx.files.srcs, transitive = [dep[ProtoSources].sources for dep in ctx.attr.deps])
    out_root = ctx.bin_dir.path + ("/" + workspace_root if workspace_root else "")

    suffix = ".grpc.pb" if ctx.attr.grpc else ".pb"
    headers = []
    implementations = []
    for src in ctx.files.srcs:
        path = src.path[len(workspace_root) + 1:] if workspace_root else src.path
        stem = path[len(ctx.label.package) + 1 if ctx.label.package else 0:-len(".proto")]
        headers.append(ctx.actions.declare_file(stem + suffix + ".h"))
        implementations.append(ctx.actions.declare_file(stem + suffix + ".cc"))

    arguments = ctx.actions.args()
    arguments.add_all(roots, format_each = "-I%s")
    if ctx.attr.grpc:
        arguments.add("--plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin")
        arguments.add("--grpc_out=" + out_root)
    else:
        arguments.add("--cpp_out=" + out_root)
    arguments.add_all(ctx.files.srcs)
    ctx.actions.run(
        executable = "/usr/bin/protoc",
        arguments = [arguments],
        inputs = sources,
        outputs = headers + implementations,
        mnemonic = "Protoc",
        progress_message = "Generating %s" % ctx.label,
    )
    return [
        DefaultInfo(files = depset(headers + implementations)),
        OutputGroupInfo(hdrs = depset(headers), srcs = depset(implementations)),
        ProtoSources(roots = roots, sources = sources),
    ]

_protoc = rule(
    implementation = _protoc_impl,
    attrs = {
        "deps": attr.label_list(providers = [ProtoSources]),
        "grpc": attr.bool(),
        "srcs": attr.label_list(allow_files = [".proto"], mandatory = True),
    },
)

def _generated_library(name, srcs, proto_deps, grpc, cc_deps, visibility, testonly):
    protoc = name + "_protoc"
    _protoc(
        name = protoc,
        srcs = srcs,
        deps = [_protoc_label(dep) for dep in proto_deps],
        grpc = grpc,
        testonly = testonly,
        visibility = visibility,
    )
    for group in ["hdrs", "srcs"]:
        native.filegroup(
            name = name + "_" + group,
            srcs = [":" + protoc],
            output_group = group,
            testonly = testonly,
        )
    native.cc_library(
        name = name,
        srcs = [":" + name + "_srcs"],
        hdrs = [":" + name + "_hdrs"],
        copts = _GENERATED_COPTS,
        linkstatic = True,
        deps = proto_deps + cc_deps,
        testonly = testonly,
        visibility = visibility,
    )

def _protoc_label(label):
    if ":" not in label:
        label = label + ":" + label.split("/")[-1]
    return label + "_protoc"

def sotto_proto_library(name, srcs, deps = [], visibility = None, testonly = False):
    """C++ messages of .proto files, usable as a dependency of C++ targets.

    Imports in the files are relative to the repository's root, as are includes: `#include "proto/sotto/v1/job.pb.h"`.

    Args:
      name: the C++ library.
      srcs: .proto files of this package.
      deps: other sotto_proto_library targets.
    """
    _generated_library(name, srcs, deps, False, ["@protobuf"], visibility, testonly)

def sotto_grpc_library(name, srcs, deps = [], visibility = None, testonly = False):
    """C++ service stubs of .proto files; deps must hold the sotto_proto_library of the same files.

    Includes are `#include "proto/sotto/v1/job_service.grpc.pb.h"`.
    """
    _generated_library(name, srcs, deps, True, ["@grpc//:grpc++"], visibility, testonly)
