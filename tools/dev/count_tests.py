"""Counts GoogleTest cases over the test.xml files of a Bazel test run.

Usage: count_tests.py TESTLOGS LABELS_FILE BAZEL_STATUS. Names every failed case, closes with "N passed, N failed" (and
", N skipped" where there are some). A target without a result (not built, not run) counts as one failure.
"""
import pathlib
import sys
import xml.etree.ElementTree as ElementTree


def results(folder):
    """Paths of test.xml of one target: one, or one per shard."""
    return sorted(folder.glob("test.xml")) or sorted(folder.glob("shard_*/test.xml"))


def outcome(case):
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    if case.find("skipped") is not None or case.get("status") == "notrun":
        return "skipped"
    return "passed"


def main(testlogs, labels_file, bazel_status):
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for label in pathlib.Path(labels_file).read_text().split():
        package, name = label.lstrip("/").split(":")
        files = results(pathlib.Path(testlogs) / package / name)
        if not files:
            counts["failed"] += 1
            print(f"FAILED {label}: no result (it did not build or did not run)")
        for file in files:
            for case in ElementTree.parse(file).getroot().iter("testcase"):
                result = outcome(case)
                counts[result] += 1
                if result == "failed":
                    print(f"FAILED {label} {case.get('classname')}.{case.get('name')}")
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    if counts["failed"] == 0 and bazel_status != 0:
        counts["failed"] = 1
        print(f"FAILED bazel test itself, with exit code {bazel_status}")
    print(f"{counts['passed']} passed, {counts['failed']} failed{skipped}")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
