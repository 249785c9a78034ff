"""@cuda: the CUDA toolkit of this machine, or stubs that build everywhere."""

def _find_toolkit(repository_ctx):
    """Returns the toolkit's path, or None. SOTTO_CUDA=0 asks for the stubs."""
    if repository_ctx.os.environ.get("SOTTO_CUDA", "0") == "0":
        return None
    candidates = [repository_ctx.os.environ.get("CUDA_HOME", ""), "/usr/local/cuda"]
    for candidate in candidates:
        if candidate and repository_ctx.path(candidate + "/bin/nvcc").exists:
            return repository_ctx.path(candidate)
    return None

def _cuda_repository_impl(repository_ctx):
    toolkit = _find_toolkit(repository_ctx)
    if toolkit:
        repository_ctx.symlink(toolkit.get_child("include"), "include")
        repository_ctx.file("defs.bzl", 'HAVE_CUDA = True\nNVCC = "%s/bin/nvcc"\n' % toolkit)
        repository_ctx.file("BUILD", """
cc_library(
    name = "runtime",
    hdrs = glob(["include/**/*.h", "include/**/*.hpp"]),
    includes = ["include"],
    linkopts = ["-L%s/lib64", "-lcudart", "-Wl,-rpath,%s/lib64"],
    visibility = ["//visibility:public"],
)
""" % (toolkit, toolkit))
    else:
        repository_ctx.file("defs.bzl", 'HAVE_CUDA = False\nNVCC = ""\n')
        repository_ctx.file("BUILD", """
# No toolkit on this machine (or SOTTO_CUDA is not 1): an empty library under the same name.
cc_library(
    name = "runtime",
    visibility = ["//visibility:public"],
)
""")

cuda_repository = repository_rule(
    implementation = _cuda_repository_impl,
    environ = ["CUDA_HOME", "SOTTO_CUDA"],
    local = True,
)
