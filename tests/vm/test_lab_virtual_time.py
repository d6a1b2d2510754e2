"""Virtual time: one command on QEMU's instruction clock, the same run every time."""

from __future__ import annotations

import pytest
from vmlab import CommandTimeout, RealTime, VirtualTime, run_virtual_time

pytestmark = [pytest.mark.vm, pytest.mark.slow]

# Writes the clock's readings around sleeps and work; a number depends on every instruction executed before it.
CLOCKS = """
import time
stamps = [time.monotonic_ns()]
for round in range(20):
    time.sleep(0.0071)
    sum(range(1000 * round))
    stamps.append(time.monotonic_ns())
open("/tmp/stamps", "w").write(" ".join(map(str, stamps)))
print(stamps[-1] - stamps[0])
"""


def test_two_runs_give_the_same_nanoseconds() -> None:
    command = [".venv/bin/python", "-c", CLOCKS]
    with VirtualTime(command, results=["/tmp/stamps"]) as prepared:
        first, second = prepared.run(), prepared.run()
    assert first.code == second.code == 0
    assert len(first.files["/tmp/stamps"].split()) == 21
    assert first.files == second.files
    assert first.output == second.output
    assert 20 * 7.1e6 <= int(first.text) < 400e6


def test_exit_code_output_and_idle_time_that_costs_nothing() -> None:
    run = run_virtual_time("echo begun; sleep 500; echo ended >&2; exit 3", timeout_s=1000)
    assert (run.code, run.text) == (3, "begun\nended\n")
    assert run.guest_s >= 500
    assert run.host_s < 100


def test_a_command_that_never_ends_meets_its_limit_in_guest_time() -> None:
    with pytest.raises(CommandTimeout, match=r"time limit of 300 s \(guest time\)") as caught:
        run_virtual_time("echo begun; sleep 100000", timeout_s=300)
    assert caught.value.output.startswith(b"begun\n")


def test_khugepaged_rests_unless_it_is_asked_for() -> None:
    asked = "cat /sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs"
    assert run_virtual_time(asked).text == "86400000\n"
    assert run_virtual_time(asked, khugepaged=True).text == "10000\n"  # the kernel's own


def test_the_same_image_boots_on_the_hosts_clock() -> None:
    run = run_virtual_time("nproc; sleep 3; exit 4", timeout_s=60, real_time=RealTime(cpus=2, kvm=False))
    assert (run.code, run.text) == (4, "2\n")
    assert 3 <= run.guest_s <= run.host_s
