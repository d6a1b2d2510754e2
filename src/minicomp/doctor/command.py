"""`minicomp doctor`: runs every check, prints the table or JSON, and answers with its exit code.

Exit code 0 when nothing that the purpose needs is missing (`--for`, headless unless said otherwise), 69 when something
is. A check that itself fails is reported as such and never ends the doctor.
"""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from minicomp.doctor import bindings, kernel, knobs, memory, scheduling, screen, session
from minicomp.doctor.finding import Check, Finding, Purpose, Status
from minicomp.errors import ExitCode

TOPICS: tuple[tuple[str, Check], ...] = (
    ("bindings and libraries", bindings.check),
    ("session", session.check),
    ("screen and input", screen.check),
    ("scheduler classes", scheduling.check),
    ("memory", memory.check),
    ("kernel", kernel.check),
    ("knobs", knobs.check),
)
_COLOURS = {Status.PASS: "\033[32m", Status.WARN: "\033[33m", Status.FAIL: "\033[31m"}
_RESET = "\033[0m"
_NAME_WIDTH = 30


class Diagnosis(NamedTuple):
    """One finding under its topic, judged for the purpose asked about."""

    topic: str
    status: Status
    finding: Finding


def main(arguments: Sequence[str]) -> int:
    """Runs `minicomp doctor ARGUMENTS`."""
    parser = argparse.ArgumentParser(
        prog="minicomp doctor",
        description="Check everything minicomp needs on this machine, and say what to do about what is missing.",
        epilog="exit codes:\n  0   nothing that --for needs is missing (warnings do not count)\n"
        "  69  something is missing; the lines marked FAIL say what to do",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--for",
        dest="purpose",
        choices=[purpose.value for purpose in Purpose],
        default=Purpose.HEADLESS.value,
        metavar="headless|kiosk|lab",
        help="what the machine is to be used for: clients without a screen (default), an application on its screen, "
        "latency experiments",
    )
    options = parser.parse_args(arguments)
    purpose = Purpose(options.purpose)
    diagnoses = list(diagnose(TOPICS, purpose))
    if options.json:
        print(as_json(diagnoses, purpose))
    else:
        width = shutil.get_terminal_size((110, 24)).columns
        print(as_table(diagnoses, purpose, width=max(width, 60), colour=sys.stdout.isatty()))
    healthy = all(diagnosis.status is not Status.FAIL for diagnosis in diagnoses)
    return ExitCode.OK if healthy else ExitCode.UNAVAILABLE


def diagnose(topics: Sequence[tuple[str, Check]], purpose: Purpose) -> Iterator[Diagnosis]:
    """Every finding of every topic. What a check raises becomes a finding: the rest is still worth knowing."""
    for topic, check in topics:
        try:
            for finding in check():
                yield Diagnosis(topic, finding.status_for(purpose), finding)
        except Exception as error:
            why = f"the check itself failed: {type(error).__name__}: {error}"
            yield Diagnosis(topic, Status.WARN, Finding(topic, False, why, "this is a bug in the doctor: report it"))


def as_json(diagnoses: Sequence[Diagnosis], purpose: Purpose) -> str:
    """{"purpose", "ok", "checks": [{"topic", "name", "status", "why", "todo"}]}; `todo` is empty where all is well."""
    checks = [
        {
            "topic": diagnosis.topic,
            "name": diagnosis.finding.name,
            "status": diagnosis.status.value,
            "why": diagnosis.finding.why,
            "todo": "" if diagnosis.finding.good else diagnosis.finding.todo,
        }
        for diagnosis in diagnoses
    ]
    healthy = all(check["status"] != Status.FAIL for check in checks)
    return json.dumps({"purpose": purpose.value, "ok": healthy, "checks": checks}, indent=2)


def as_table(diagnoses: Sequence[Diagnosis], purpose: Purpose, *, width: int, colour: bool) -> str:
    """One line a finding under its topic's heading; what to do follows on lines of its own."""
    lines: list[str] = []
    topic = ""
    indent = " " * (4 + 2 + _NAME_WIDTH + 1)
    for diagnosis in diagnoses:
        if diagnosis.topic != topic:
            topic = diagnosis.topic
            lines += ["", topic]
        finding, status = diagnosis.finding, diagnosis.status
        mark = status.value.upper()
        first = f"{mark}  {finding.name:<{_NAME_WIDTH}} "
        block = textwrap.wrap(first + finding.why, width, subsequent_indent=indent, break_long_words=False)
        if colour:
            block[0] = f"{_COLOURS[status]}{mark}{_RESET}{block[0][len(mark) :]}"
        lines += block
        if not finding.good and finding.todo:
            lines += textwrap.wrap(
                f"-> {finding.todo}",
                width,
                initial_indent=indent,
                subsequent_indent=f"{indent}   ",
                break_long_words=False,
            )
    counts = {status: sum(diagnosis.status is status for diagnosis in diagnoses) for status in Status}
    verdict = "ready" if not counts[Status.FAIL] else "not ready"
    summary = f"{counts[Status.PASS]} pass, {counts[Status.WARN]} warn, {counts[Status.FAIL]} fail"
    lines += ["", f"{verdict} for {purpose.value} use: {summary}"]
    return "\n".join(lines).lstrip("\n")
