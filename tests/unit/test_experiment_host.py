"""What is recorded of the machine: shares that add up, neighbours that are seen, this machine's own files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minicomp.lab.experiments import host

LOAD = Path(__file__).resolve().parents[2] / "build/clients/load"


def test_the_difference_of_two_readings() -> None:
    before = {
        "monotonic_ns": 1_000_000_000,
        "cpu_ticks": {"user": 100, "system": 10, "idle": 50, "steal": 0},
        "context_switches": 5,
        "forks": 1,
        "pressure_us": {"cpu_some": 1_000, "io_full": 0},
        "thermal_throttles": 2,
        "temperature_c": {"zone": 50.0},
    }
    after = {
        "monotonic_ns": 3_000_000_000,
        "cpu_ticks": {"user": 250, "system": 30, "idle": 70, "steal": 10},
        "context_switches": 105,
        "forks": 4,
        "pressure_us": {"cpu_some": 501_000, "io_full": 0},
        "thermal_throttles": 2,
        "temperature_c": {"zone": 61.5},
    }
    assert host.between(before, after) == {
        "seconds": 2.0,
        "cpu_share": {"user": 0.75, "system": 0.1, "idle": 0.1, "steal": 0.05},
        "pressure_ms": {"cpu_some": 500.0, "io_full": 0.0},
        "context_switches": 100,
        "forks": 3,
        "thermal_throttles": 0,
        "hottest_c": 61.5,
    }


def test_neighbours_are_what_is_left() -> None:
    """Two CPUs for two seconds; 80 % busy, of which ours had half of the machine and kernel threads a tenth."""
    ticks = os.sysconf("SC_CLK_TCK")
    during = {"seconds": 2.0, "cpu_share": {"user": 0.7, "system": 0.1, "idle": 0.2}}
    before = {"own": 1000, "kernel": 500}
    after = {"own": 1000 + 2 * ticks, "kernel": 500 + round(0.4 * ticks)}
    assert host.others_share(during, before, after, 2) == pytest.approx(0.2)
    # Readings that are taken one after another never make a negative share.
    assert host.others_share(during, before, {"own": 10**6, "kernel": 500}, 2) == 0


def test_our_processes_are_told_from_others() -> None:
    ours = subprocess.Popen([str(LOAD), "cpu", "--copies", "1"], process_group=0)
    others = subprocess.Popen([str(LOAD), "cpu", "--copies", "1"], process_group=0)
    try:
        before = host.ticks_of([ours.pid], 0)
        before_both = host.ticks_of([ours.pid, others.pid], 0)
        time.sleep(1.0)
        one = host.ticks_of([ours.pid], 0)["own"] - before["own"]
        both = host.ticks_of([ours.pid, others.pid], 0)["own"] - before_both["own"]
    finally:
        for process in (ours, others):
            process.terminate()
            process.wait(5)
    assert one > 0
    assert both > one


def test_changes_are_named() -> None:
    assert host.changed({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == {
        "a": ["1", ""],
        "b": ["2", "3"],
        "c": ["", "4"],
    }
    assert host.changed(host.settings(), host.settings()) == {}


def test_this_machine() -> None:
    facts = host.facts()
    assert facts["kernel"] == os.uname().release
    assert facts["host"] == host.host_id() and os.uname().nodename.split(".")[0] in facts["host"]
    machine_id = Path("/etc/machine-id")
    if machine_id.exists():
        assert machine_id.read_text().strip() not in str(facts), "the machine id itself is nobody's business"
    counters = host.counters()
    assert set(counters["cpu_ticks"]) == set(host.STAT_FIELDS) and counters["cpu_ticks"]["idle"] > 0
    assert counters["context_switches"] > 0 and counters["forks"] > 0
    assert host.moment()["load_1min"] >= 0
    assert "cpus_online" in host.settings()


def test_threads_of_a_process() -> None:
    busy = "import time\nend = time.monotonic() + 30\nprint(flush=True)\nwhile time.monotonic() < end: pass"
    with subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        before = host.thread_times(process.pid)
        time.sleep(0.5)
        after = host.thread_times(process.pid)
        process.kill()
    (name,) = before
    used = host.thread_times_between(before, after)[name]
    assert 0 < used["cpu_ns"] < 2e9 and used["waited_ns"] >= 0
    assert host.thread_times(process.pid) == {}  # gone
