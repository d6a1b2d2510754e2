"""`lab probe` on KMS and on another kernel: the probes that most hosts cannot make, and that it leaves nothing changed."""

from __future__ import annotations

import json

import pytest
from vmlab import Guest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

HOLDS = (
    "bpf-drm-ioctls", "bpf-vblank", "bpf-sched-switch", "bpf-cgroup-device", "bpf-btf", "bpf-core", "bpf-loops",
    "bpf-out-of-bounds", "bpf-syscall", "scm-dma-buf", "sched-class",
)  # fmt: skip
DOES_NOT = ("io-uring-drm-ioctls", "file-structure", "namespace-structure", "bpf-only-helpers")
NEEDS_A_PMU = ("bpf-cache-misses", "memory-page-walk")
SETTINGS = (
    "cd /sys/kernel/mm/transparent_hugepage && grep -H . enabled defrag khugepaged/scan_sleep_millisecs; "
    "grep -H . /proc/sys/kernel/sched_rt_runtime_us /proc/sys/vm/nr_hugepages; find /sys/fs/cgroup -type d | sort; "
    "cut -d' ' -f1-3 /proc/mounts"
)


def test_display_and_bpf(guest: Guest) -> None:
    """One start for all of them: Python takes seconds in emulation."""
    before = guest.run(SETTINGS).out
    names = [*HOLDS, *DOES_NOT, *NEEDS_A_PMU, "memory-thp-madvise", "memory-thp-automatic", "sched-cpuset"]
    done = guest.run(f".venv/bin/minicomp lab probe {' '.join(names)} --quick --json", timeout_s=200)
    assert done.code == 0, done.out[-3000:] + done.err
    report = json.loads(done.out)
    results = {entry["name"]: entry for entry in report["results"]}
    wrong = [name for name in HOLDS if results[name]["verdict"] != "holds"]
    wrong += [name for name in DOES_NOT if results[name]["verdict"] != "does not hold here"]
    wrong += [name for name in NEEDS_A_PMU if results[name]["verdict"] != "cannot be tested here"]
    assert not wrong, [(name, results[name]["verdict"], results[name]["seen"]) for name in wrong]
    assert not [entry["error"] for entry in report["results"] if entry["error"]]
    assert guest.run(SETTINGS).out == before
