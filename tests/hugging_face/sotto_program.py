"""The program `sotto`, run as users do: a coordinator comes with each call, workers are processes."""

import json
import os
import shutil
import subprocess


class Sotto:
    """`sotto` with a state folder of its own, all in `folder`. The programs named by the environment are copied there,
    since a coordinator is looked for beside `sotto`, and workers beside it."""

    def __init__(self, folder):
        self.folder = folder
        self.calls = 0
        os.mkdir(self.path("bin"))
        for program in ("SOTTO", "SOTTO_COORDINATOR", "SOTTO_WORKER"):
            shutil.copy(os.environ[program], self.path("bin"))

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def new_path(self, name):
        self.calls += 1
        return self.path(f"{self.calls}-{name}")

    def write(self, name, text):
        path = self.new_path(name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def write_lines(self, name, objects):
        return self.write(name, "".join(json.dumps(line) + "\n" for line in objects))

    def run(self, *arguments):
        """Runs it to its end; AssertionError with all it wrote when it fails."""
        done = subprocess.run([self.path("bin", "sotto"), "--state_dir", self.path("state"), *map(str, arguments)],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        assert done.returncode == 0, f"sotto {arguments}: {done.stdout}"
        return done.stdout

    def infer(self, verb, out, *arguments):
        """Runs a verb that reads a model, and gives the path of what it wrote."""
        path = self.new_path(out)
        self.run(verb, "--out", path, "--slots", 4, *arguments)
        return path

    def lines(self, verb, *arguments):
        with open(self.infer(verb, "out.jsonl", *arguments), encoding="utf-8") as file:
            return [json.loads(line) for line in file]
