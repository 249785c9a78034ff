"""Checks what the coordinator kept of the demo's job.

Usage: check_demo.py JOB_FILE EVENTS_FILE: `sotto --output json get` and `sotto --output jsonl watch` of it. Exit code 1,
with a line for each promise that was not kept: the job succeeded, its epsilon is within the target, its checkpoint is
there, its held-out loss fell.
"""
import json
import os
import sys

TARGET_EPSILON = 3
LEAST_FALL = 1  # of the held-out loss, in nats a token


def held_out_losses(events):
    """Those that were measured by themselves, as before the first step, then those of steps."""
    losses = [event["evaluation"]["evaluation_loss"] for event in events if event.get("evaluation")]
    return losses + [event["step"]["evaluation_loss"] for event in events
                     if event.get("step", {}).get("evaluation_loss")]


def faults(job, losses):
    if job["state"] != "SUCCEEDED":
        yield f"the job is {job['state']}: {job.get('message')}"
    if not 0 < job["epsilon"] <= TARGET_EPSILON:
        yield f"epsilon is {job['epsilon']}, not in (0, {TARGET_EPSILON}]"
    if not os.path.isdir(job["checkpoint_path"]):
        yield f"there is no checkpoint at {job['checkpoint_path']!r}"
    if len(losses) < 2:
        yield "the held-out loss was not measured before and after"
    elif max(losses) - losses[-1] < LEAST_FALL:
        yield f"the held-out loss did not fall: {losses[0]:.3f} to {losses[-1]:.3f}"


def main(job_file, events_file):
    with open(job_file, encoding="utf-8") as file:
        job = json.load(file)
    with open(events_file, encoding="utf-8") as file:
        losses = held_out_losses([json.loads(line) for line in file])
    found = list(faults(job, losses))
    for fault in found:
        print(fault, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
