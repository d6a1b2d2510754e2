"""Knobs that the machine of the tests cannot show: the helper through a real sudo, utilization clamping, old kernels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from vmlab import Guest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

PYTHON = ".venv/bin/python"
STEP_TIMEOUT_S = 120

# Everything is imported as root: an ordinary user may not read this tree.
ORDINARY_USER = """
import os
from minicomp.config.knobs import KnobSettings
from minicomp.lab.knobs import syscalls
from minicomp.lab.knobs.apply import KnobSession
from minicomp.lab.knobs.knob import KnobRefused, Subject
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
tid = os.getpid()
session = KnobSession(KnobSettings(), lambda: Subject(tid, loop_tid=tid))
try:
    session.change("knobs.loop", {"class": "fifo", "priority": 3})
    print("class", syscalls.sched_getattr(tid).policy)
    session.close()
    print("afterwards", syscalls.sched_getattr(tid).policy)
except KnobRefused as error:
    print("refused:", error, "|", error.remedy)
"""

SLICE = """
import os
from minicomp.config.knobs import KnobSettings
from minicomp.lab.knobs.apply import KnobSession
from minicomp.lab.knobs.knob import Subject
tid = os.getpid()
session = KnobSession(KnobSettings(), lambda: Subject(tid, loop_tid=tid))
print(session.change("knobs.loop", {"slice_us": 700}))
"""

CLAMP = """
import os
from minicomp.config.knobs import KnobSettings
from minicomp.lab.knobs.apply import KnobSession
from minicomp.lab.knobs.knob import Subject
tid = os.getpid()
session = KnobSession(KnobSettings(), lambda: Subject(tid, loop_tid=tid))
print(session.change("knobs.system.uclamp_min", 512).took_effect)
print([line for line in open("/proc/self/sched") if line.startswith("uclamp.min")])
session.close()
print([line for line in open("/proc/self/sched") if line.startswith("uclamp.min")])
"""


@pytest.fixture(scope="module")
def with_sudo() -> Iterator[Guest]:
    with Guest(packages=("sudo",)) as guest:
        yield guest


def run(guest: Guest, script: str) -> str:
    guest.write_file("/run/knobs-test.py", script.encode())
    result = guest.run(
        f"{PYTHON} /run/knobs-test.py", timeout_s=STEP_TIMEOUT_S, env={"PYTHONPATH": f"{guest.tree}/src"}
    )
    return result.check().out


def test_sudo_without_a_rule_is_a_refusal_that_says_what_to_do(with_sudo: Guest) -> None:
    text = run(with_sudo, ORDINARY_USER)
    assert "refused: knobs.loop" in text
    assert "sudo" in text


def test_sudo_with_the_documented_rule_starts_the_helper(with_sudo: Guest) -> None:
    rule = f"nobody ALL=(root) NOPASSWD: {with_sudo.tree}/{PYTHON} -I -m minicomp.lab.helper\n"
    with_sudo.write_file("/etc/sudoers.d/minicomp", rule.encode(), mode=0o440)
    try:
        text = run(with_sudo, ORDINARY_USER)
        assert "class 1\nafterwards 0\n" in text, text
        assert with_sudo.run("ls /run/minicomp").check().out.split() in ([], ["machine.lock"]), "no journal is left"
    finally:
        with_sudo.run("rm /etc/sudoers.d/minicomp").check()


def test_utilization_clamp_is_set_and_given_back(with_sudo: Guest) -> None:
    took, clamped, afterwards = run(with_sudo, CLAMP).strip().splitlines()
    assert took == "True"
    assert "512" in clamped
    assert "512" not in afterwards


def test_a_kernel_without_slices_is_noticed() -> None:
    with Guest(kernel="6.1") as guest:
        text = run(guest, SLICE)
        assert "took_effect=False" in text
        assert "the slice was ignored" in text
