"""One tool for each program type that the document names for compositors."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from minicomp.lab.probes.bpf.programs import (
    EVENT_SOURCES,
    PERF_TYPE_HARDWARE,
    PERF_TYPE_SOFTWARE,
    PERF_TYPE_TRACEPOINT,
    array,
    bpf_allowed,
    call,
    counter,
    loaded,
    own_pid,
    tracefs,
    tracepoint_id,
)
from minicomp.lab.probes.calls import check
from minicomp.lab.probes.probe import Budget, Missing, Number, Probe, Result, cannot_test, holds
from minicomp.lab.probes.requirements import cards, has_card, linux, path, root, x86_64
from minicomp.lab.probes.settings import changed
from minicomp.lab.probes.text import quantity
from minicomp.native.probes import ffi, lib

DRM_MAJOR = 226
CACHE_MISSES, PAGE_FAULTS = 3, 2
"""PERF_COUNT_HW_CACHE_MISSES, PERF_COUNT_SW_PAGE_FAULTS."""
ENTRIES = 256


def has_switches() -> Missing | None:
    with suppress(OSError):
        if tracepoint_id("sched/sched_switch") is not None:
            return None
    return Missing("no tracepoint sched:sched_switch", "a kernel with CONFIG_FTRACE")


def measure_switches(budget: Budget) -> Result:
    number = tracepoint_id("sched/sched_switch")
    assert number is not None
    with array(1) as map_fd, loaded(lib.MC_BPF_COUNT_TRACEPOINT, map_fd, own_pid()) as program:
        event = check("perf_event_open", lib.mc_bpf_on_event(program, PERF_TYPE_TRACEPOINT, number, 1, -1, 0))
        try:
            before, own_before = counter(map_fd), _switches()
            for _ in range(100):
                time.sleep(0.001)
            own = _switches() - own_before
            counted = counter(map_fd) - before
        finally:
            os.close(event)
    # A sleep that is over before the CPU could be given away is no switch: the kernel's own count says how many were.
    return holds(
        f"a program counted {counted} switches away from this process while it slept 100 times; the kernel, {own}",
        Number.exact("switches counted", counted),
        when=counted >= own > 0,
    )


def _switches() -> int:
    """How often this process has given its CPU away, or lost it, until now."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_nvcsw + usage.ru_nivcsw


def measure_cost(budget: Budget) -> Result:
    number = tracepoint_id("sched/sched_switch")
    assert number is not None
    rounds, turns = budget.pick(2000, 10_000), budget.pick(12, 40)
    ns = ffi.new("double *")
    bare, traced = [], []
    with array(1) as map_fd, loaded(lib.MC_BPF_COUNT_TRACEPOINT, map_fd, 0) as program:
        for _ in range(turns):
            check("pipe", lib.mc_bpf_switches(rounds, ns))
            bare.append(ns[0])
            event = check("perf_event_open", lib.mc_bpf_on_event(program, PERF_TYPE_TRACEPOINT, number, 1, -1, 0))
            try:
                check("pipe", lib.mc_bpf_switches(rounds, ns))
            finally:
                os.close(event)
            traced.append(ns[0])
            if budget.spent and len(traced) > 3:
                break
        counted = counter(map_fd)
    without, with_program = (
        Number.of("a switch, without", "ns", bare),
        Number.of("a switch, with the program", "ns", traced),
    )
    more = Number.of("more, turn by turn", "ns", [b - a for a, b in zip(bare, traced, strict=True)])
    return holds(
        f"a switch takes {quantity(without.value)} ns, with a program that counts it {quantity(with_program.value)}: "
        f"{quantity(more.value)} ns an event (5th to 95th percentile {quantity(more.low)} to {quantity(more.high)})",
        without, with_program, more, Number.exact("events counted", counted),
        when=counted >= rounds * len(traced),
    )  # fmt: skip


def measure_vblanks(budget: Budget) -> Result:
    number = tracepoint_id("drm/drm_vblank_event")
    if number is None:
        return cannot_test("no tracepoint drm:drm_vblank_event", "a kernel with DRM: the VM has it")
    with array(1) as map_fd, loaded(lib.MC_BPF_COUNT_TRACEPOINT, map_fd, 0) as program:
        event = check("perf_event_open", lib.mc_bpf_on_event(program, PERF_TYPE_TRACEPOINT, number, 1, -1, 0))
        try:
            for card in cards():
                waited = _wait_vblanks(card, 5)
                if waited:
                    break
            else:
                return cannot_test(
                    "no display is on: DRM_IOCTL_WAIT_VBLANK is refused", "a compositor that shows something"
                )
            counted = counter(map_fd)
        finally:
            os.close(event)
    return holds(f"{waited} vblanks waited for on {card}, {counted} counted by the program", when=counted >= waited)


def _wait_vblanks(card: Path, wanted: int) -> int:
    fd = os.open(card, os.O_RDWR | os.O_CLOEXEC)
    try:
        return sum(lib.mc_drm_wait_vblank(fd) == 0 for _ in range(wanted))
    finally:
        os.close(fd)


def measure_ioctls(budget: Budget) -> Result:
    kind = int((EVENT_SOURCES / "kprobe/type").read_text())
    name = ffi.new("char[]", 32)
    with array(ENTRIES) as map_fd, loaded(lib.MC_BPF_COUNT_IOCTL, map_fd, own_pid()) as program:
        event = lib.mc_bpf_on_kprobe(program, kind, b"drm_ioctl")
        if event < 0:
            return cannot_test(
                f"drm_ioctl takes no kprobe: {os.strerror(-event)}", "a kernel with DRM and CONFIG_KPROBES"
            )
        try:
            fd = os.open(cards()[0], os.O_RDWR | os.O_CLOEXEC)
            try:
                for _ in range(7):
                    check("DRM_IOCTL_VERSION", lib.mc_drm_name(fd, name, 32))
            finally:
                os.close(fd)
        finally:
            os.close(event)
        counted = {key: count for key in range(ENTRIES) if (count := counter(map_fd, key))}
    words = ", ".join(f"{count} of number {key:#04x}" for key, count in counted.items())
    driver = ffi.string(name).decode()
    return holds(
        f"7 DRM_IOCTL_VERSION (0x00) to {driver}; the program counted {words or 'none'}", when=counted == {0: 7}
    )


def _fault(pages: int) -> None:
    memory = bytearray(pages * 4096)
    del memory


def measure_misses(budget: Budget) -> Result:
    """Cache misses where there is a counter for them; the same program on page faults shows what is missing is only that."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    with array(1) as map_fd, loaded(lib.MC_BPF_COUNT_PERF, map_fd, 0) as program:
        event = lib.mc_bpf_on_event(program, PERF_TYPE_HARDWARE, CACHE_MISSES, 1000, 0, -1)
        if event < 0:
            refused = os.strerror(-event)
            event = check("perf_event_open", lib.mc_bpf_on_event(program, PERF_TYPE_SOFTWARE, PAGE_FAULTS, 1, 0, -1))
            try:
                _fault(20_000)
                faults = counter(map_fd)
            finally:
                os.close(event)
            return cannot_test(
                f"no counter of cache misses ({refused}); the same program on page faults counted {faults}",
                "a PMU: bare metal, or a hypervisor that gives its guests one",
            )
        try:
            _fault(50_000)
            counted = counter(map_fd)
        finally:
            os.close(event)
    return holds(
        f"writing 200 MB gave {counted} samples, one every 1000 misses of the last-level cache", when=counted > 0
    )


def unified() -> Path | None:
    for folder in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (folder / "cgroup.procs").exists() and (folder / "cgroup.controllers").exists():
            return folder
    return None


def has_unified() -> Missing | None:
    return None if unified() else Missing("no cgroup v2 is mounted", "cgroup v2")


def _open_device(major: int, minor: int) -> str:
    """What opening a fresh node of that device says: the error's name, or "opened". ENXIO: allowed, but nothing there."""
    with tempfile.TemporaryDirectory(dir="/dev") as folder:
        node = f"{folder}/node"
        try:
            os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(major, minor))
            os.close(os.open(node, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            return errno.errorcode[error.errno or 0]
    return "opened"


def measure_devices(budget: Budget) -> Result:
    above = unified()
    assert above is not None
    group = above / f"minicomp-probe-{os.getpid()}"
    before = _open_device(DRM_MAJOR, 128)
    with changed({}, [str(group)]), loaded(lib.MC_BPF_DENY_DRM) as program:
        fd = os.open(group, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            check("bpf(BPF_PROG_ATTACH)", lib.mc_bpf_on_cgroup(program, fd))
        finally:
            os.close(fd)
        home = Path("/proc/self/cgroup").read_text().split("0::/", 1)[1].splitlines()[0]
        (group / "cgroup.procs").write_text("0")
        try:
            inside, other = _open_device(DRM_MAJOR, 128), _open_device(1, 3)
        finally:
            (above / home / "cgroup.procs").write_text("0")
    return holds(
        f"a render node (226:128): {before} before, {inside} in a cgroup with the program; /dev/null's number there: {other}",
        when=before != "EPERM" and inside == "EPERM" and other == "opened",
    )


def measure_direct(budget: Budget) -> Result:
    rounds = budget.pick(200, 2000)
    one_call, many = [], []
    with array(ENTRIES) as map_fd, loaded(lib.MC_BPF_FILL, map_fd, ENTRIES) as program:
        told = call(program)
        right = told == ENTRIES and all(counter(map_fd, key) == key for key in range(ENTRIES))
        word = ffi.new("uint64_t *")
        for _ in range(rounds):
            began = time.perf_counter_ns()
            lib.mc_bpf_call(program, word)
            between = time.perf_counter_ns()
            for key in range(ENTRIES):
                lib.mc_bpf_update(map_fd, key, key)
            many.append((time.perf_counter_ns() - between) / 1e3)
            one_call.append((between - began) / 1e3)
    direct, separate = Number.of("one call of the program", "us", one_call), Number.of("a system call each", "us", many)
    return holds(
        f"one call writes {told} elements in {quantity(direct.value)} us; {ENTRIES} system calls (from Python) take "
        f"{quantity(separate.value)} us",
        direct, separate, when=right,
    )  # fmt: skip


PROBES = (
    Probe(
        name="bpf-sched-switch",
        section=8,
        statement="BPF_PROG_TYPE_TRACEPOINT: static tracepoints, sched:sched_switch",
        method="A program that counts switches away from this process is attached, and the process sleeps 100 times.",
        used_by="lab/kernel records sched_switch (trace.kernel = tracefs or bpftrace): who ran when a frame was late.",
        requires=(bpf_allowed, tracefs, has_switches),
        measure=measure_switches,
    ),
    Probe(
        name="bpf-event-cost",
        section=8,
        statement="The cost of one event of a tracepoint program, against none",
        method="Two processes on one CPU hand each other a byte by pipes, two switches a round; without and with a program "
        "on sched_switch that counts into a map, in turn.",
        used_by="What trace.kernel = bpftrace adds to each switch, at the least.",
        requires=(bpf_allowed, tracefs, has_switches),
        measure=measure_cost,
    ),
    Probe(
        name="bpf-vblank",
        section=8,
        statement="BPF_PROG_TYPE_TRACEPOINT: drm:drm_vblank_event",
        method="The program counts the tracepoint while five vblanks are waited for with DRM_IOCTL_WAIT_VBLANK.",
        used_by="lab/kernel records it where the driver has it: when the display really began a frame.",
        requires=(has_card, bpf_allowed, tracefs),
        measure=measure_vblanks,
    ),
    Probe(
        name="bpf-drm-ioctls",
        section=8,
        statement="BPF_PROG_TYPE_KPROBE: any kernel function; trace DRM ioctls",
        method="A program on drm_ioctl reads the request from the second argument's register and counts each kind, while "
        "seven DRM_IOCTL_VERSION are made.",
        used_by="frame-syscalls counts the ioctls of our own frames, by ptrace, which needs no kprobes.",
        requires=(
            x86_64("registers that hold arguments"), has_card, path(str(EVENT_SOURCES / "kprobe"), "a kernel with CONFIG_KPROBE_EVENTS"), bpf_allowed
        ),
        measure=measure_ioctls,
    ),
    Probe(
        name="bpf-cache-misses",
        section=8,
        statement="BPF_PROG_TYPE_PERF_EVENT: PMC overflow; sample CPU cache misses in compositor",
        method="A program counts the samples of PERF_COUNT_HW_CACHE_MISSES (one each 1000) while memory is written.",
        used_by="Not used: the lab measures times, and most of its machines are virtual, without a PMU.",
        requires=(bpf_allowed,),
        measure=measure_misses,
    ),
    Probe(
        name="bpf-cgroup-device",
        section=8,
        statement="BPF_PROG_TYPE_CGROUP_DEVICE: control GPU device access per container",
        method="A node 226:128 is made and opened outside and inside a cgroup with a program that denies major 226. ENXIO "
        "means allowed, but no such device.",
        used_by="The kiosk's sandbox does it by what it mounts (app.sandbox): only the render node is there.",
        requires=(root, has_unified, linux(4, 15, "BPF_PROG_TYPE_CGROUP_DEVICE"), bpf_allowed),
        measure=measure_devices,
    ),
    Probe(
        name="bpf-syscall",
        section=8,
        statement="BPF_PROG_TYPE_SYSCALL: direct invocation; complex map operations from userspace",
        method="A program that fills 256 elements of a map is called once; then each is written by a bpf(2) of its own.",
        used_by="Not used; bpf-core reads the kernel's own structures by it.",
        requires=(linux(5, 14, "BPF_PROG_TYPE_SYSCALL"), bpf_allowed),
        measure=measure_direct,
    ),
)  # fmt: skip
