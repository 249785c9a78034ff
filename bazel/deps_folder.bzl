"""Repositories that live in the cache folder (${SOTTO_DEPS:-$HOME/.cache/sotto}); tools/dev/install.sh fills it."""

_TORCH = "torch-2.11.0"
_GOOGLEAPIS = "googleapis-1.76.0"

def _deps_path(repository_ctx, name):
    folder = repository_ctx.os.environ.get("SOTTO_DEPS", "")
    if not folder:
        folder = repository_ctx.os.environ["HOME"] + "/.cache/sotto"
    path = repository_ctx.path(folder + "/" + name)
    if not path.exists:
        fail("%s is missing: run ./dev build, which installs it" % path)
    return path

def _torch_repository_impl(repository_ctx):
    torch = _deps_path(repository_ctx, _TORCH).realpath.get_child("torch")
    include = torch.get_child("include")
    for folder in ["ATen", "c10", "caffe2", "torch"]:
        repository_ctx.symlink(include.get_child(folder), "include/" + folder)
    repository_ctx.file("paths.bzl", 'TORCH_LIB = "%s"\n' % torch.get_child("lib"))
    repository_ctx.symlink(Label("@sotto//third_party/torch:torch.BUILD"), "BUILD")

torch_repository = repository_rule(
    implementation = _torch_repository_impl,
    environ = ["SOTTO_DEPS"],
    local = True,
)

def _googleapis_repository_impl(repository_ctx):
    root = _deps_path(repository_ctx, _GOOGLEAPIS)
    repository_ctx.symlink(root.get_child("google"), "google")
    repository_ctx.symlink(Label("@sotto//third_party/googleapis:googleapis.BUILD"), "BUILD")

googleapis_repository = repository_rule(
    implementation = _googleapis_repository_impl,
    environ = ["SOTTO_DEPS"],
    local = True,
)
