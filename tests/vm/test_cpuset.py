"""cgroup v2: partitions for one thread and for the whole compositor, deadline scheduling inside them, and the way back.

The host of the tests often has v1 (tests/headless/test_knobs_cpuset.py); the guest has v2 and two CPUs. What the
compositor says of itself is compared with /proc/TID/status and the groups' files, read by a shell in the guest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from vmlab import Guest
from vmlab.process import GuestProcess

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

START_TIMEOUT_S = 90
STEP_TIMEOUT_S = 60
CGROUP = "/sys/fs/cgroup"
# A fixed reservation: what emulated code uses per refresh says nothing.
DEADLINE = '{class="deadline", runtime_us=3000, period_us=16000}'


@dataclass
class Running:
    """minicomp in the guest, with pulse."""

    guest: Guest
    process: GuestProcess
    pid: int

    def shell(self, script: str) -> str:
        return self.guest.run(script).check().out.strip()

    def threads(self) -> dict[str, tuple[str, str]]:
        """Of each thread the CPUs it may use and its group."""
        script = f'for t in /proc/{self.pid}/task/*; do echo "$(cat $t/comm) $(grep Cpus_allowed_list $t/status) $(cat $t/cgroup)"; done'
        lines = self.shell(script).splitlines()
        matches = [re.match(r"(\S+) Cpus_allowed_list:\s+(\S+) 0::(\S+)", line) for line in lines]
        return {match[1]: (match[2], match[3]) for match in matches if match}

    def read(self, group: str, file: str) -> str:
        return self.shell(f"cat {CGROUP}/{group}/{file}")

    def policy(self, thread: str) -> str:
        """The scheduling class by `chrt`, which asks the kernel."""
        tid = self.shell(f"for t in /proc/{self.pid}/task/*; do grep -qx {thread} $t/comm && basename $t; done; true")
        answer = self.shell(f"chrt -p {tid}").splitlines()[0].rpartition(" ")[2]
        return answer.partition("|")[0]  # "SCHED_DEADLINE|SCHED_RESET_ON_FORK"


@contextmanager
def running(guest: Guest, **knobs: str) -> Iterator[Running]:
    """Strict: it runs only if every knob took effect. Afterwards the guest is as before."""
    before = groups(guest)
    settings = " ".join(f"--set 'knobs.{key.replace('__', '.')}={value}'" for key, value in knobs.items())
    run = f".venv/bin/python -m minicomp run --backend headless --set knobs.strict=true {settings}"
    command = f"echo pid=$$; exec {run} -- build/clients/pulse --duration-s 600"
    process = guest.spawn(command, env={"PYTHONPATH": str(guest.tree / "src")})
    try:
        output = process.wait_for("ready:", START_TIMEOUT_S)
        match = re.search(r"pid=(\d+)", output)
        assert match
        yield Running(guest, process, int(match[1]))
    finally:
        process.stop(grace_s=20)
    assert "could not be undone" not in process.output(), process.output()
    guest.run(
        "for i in $(seq 50); do ls -d /sys/fs/cgroup/minicomp-* 2>/dev/null || exit 0; sleep 0.1; done; exit 1"
    ).check()
    assert groups(guest) == before


def groups(guest: Guest) -> str:
    return guest.run(f"ls {CGROUP}; cat {CGROUP}/cgroup.subtree_control {CGROUP}/cpuset.cpus.effective").check().out


def test_a_partition_for_the_render_thread_alone(guest: Guest) -> None:
    with running(guest, cpuset__render_cpus="1", cpuset__partition="root", render=DEADLINE) as compositor:
        base = f"minicomp-{compositor.pid}"
        assert compositor.read(f"{base}/render", "cpuset.cpus.partition") == "root"
        assert compositor.read(f"{base}/render", "cgroup.type") == "threaded"
        assert compositor.read(base, "cgroup.type") == "domain threaded"
        threads = compositor.threads()
        assert threads["mc-render"] == ("1", f"/{base}/render")
        assert threads["mc-loop"] == ("0", f"/{base}")
        assert compositor.policy("mc-render") == "SCHED_DEADLINE"
        assert compositor.read("", "cpuset.cpus.effective") == "0", "taken from everybody else"


def test_a_partition_for_the_whole_compositor(guest: Guest) -> None:
    with running(
        guest, cpuset__compositor_cpus="1", cpuset__partition="root", render=DEADLINE, loop=DEADLINE
    ) as compositor:
        base = f"minicomp-{compositor.pid}"
        assert compositor.read(base, "cpuset.cpus.partition") == "root"
        threads = compositor.threads()
        assert {thread[0] for thread in threads.values()} == {"1"}
        assert compositor.policy("mc-render") == compositor.policy("mc-loop") == "SCHED_DEADLINE"
        script = f"for i in $(seq 100); do grep -q . {CGROUP}/{base}-clients/cgroup.procs && break; sleep 0.1; done"
        compositor.shell(script)
        client = compositor.shell(f"head -1 {CGROUP}/{base}-clients/cgroup.procs")
        assert compositor.shell(f"cat /proc/{client}/comm") == "pulse"
        assert compositor.shell(f"grep Cpus_allowed_list /proc/{client}/status").split()[-1] == "0"


def test_isolated(guest: Guest) -> None:
    with running(guest, cpuset__compositor_cpus="1", cpuset__partition="isolated") as compositor:
        assert compositor.read(f"minicomp-{compositor.pid}", "cpuset.cpus.partition") == "isolated"
        assert compositor.read("", "cpuset.cpus.isolated") == "1"


def test_places_without_a_partition(guest: Guest) -> None:
    with running(
        guest,
        cpuset__partition="member",
        cpuset__render_cpus="1",
        cpuset__compositor_cpus="0",
        cpuset__client_cpus="1",
        cpuset__other_cpus="0",
    ) as compositor:
        threads = compositor.threads()
        assert threads["mc-render"][0] == "1"
        assert threads["mc-loop"][0] == "0"
        # The guest's own shell is everything else.
        assert compositor.shell("grep Cpus_allowed_list /proc/self/status").split()[-1] == "0"
        assert compositor.shell(f"cat {CGROUP}/minicomp-{compositor.pid}-other/cgroup.procs")


def test_an_invalid_partition_is_refused_with_the_kernels_reason(guest: Guest) -> None:
    """Somebody else's partition has CPU 1 already: the kernel says "root invalid (...)" in a file, and no error."""
    taken = f"mkdir {CGROUP}/taken && echo +cpuset > {CGROUP}/cgroup.subtree_control && echo 1 > {CGROUP}/taken/cpuset.cpus && echo root > {CGROUP}/taken/cpuset.cpus.partition"
    guest.run(taken).check()
    try:
        command = ".venv/bin/python -m minicomp run --backend headless --set knobs.strict=true --set knobs.cpuset.compositor_cpus=1 --set knobs.cpuset.partition=root -- true"
        done = guest.run(command, env={"PYTHONPATH": str(guest.tree / "src")}, timeout_s=STEP_TIMEOUT_S)
        assert done.code == 69, done.out
        assert "root invalid (" in done.out + done.err
    finally:
        guest.run(f"rmdir {CGROUP}/taken; echo -cpuset > {CGROUP}/cgroup.subtree_control").check()
