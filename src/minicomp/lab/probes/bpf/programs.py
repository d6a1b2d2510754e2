"""Loading the programs of native/probes/bpf_programs.c: descriptors that close themselves, the verifier's words."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minicomp.errors import MinicompError
from minicomp.lab.kernel.tracefs import TRACEFS, mount_privately
from minicomp.lab.probes.calls import check
from minicomp.lab.probes.probe import Missing
from minicomp.native.probes import ffi, lib

ARRAY, RINGBUF = 2, 27
"""enum bpf_map_type."""
PERF_TYPE_HARDWARE, PERF_TYPE_SOFTWARE, PERF_TYPE_TRACEPOINT = 0, 1, 2
EVENT_SOURCES = Path("/sys/bus/event_source/devices")
_LOG_BYTES = 1 << 20
_STATISTICS = ("processed ", "subprog ", "verification time", "stack depth", "cur state:", "old state:")
"""What the verifier writes after its reason."""
_EXPLANATION = "\nVerification failed:"
"""Since Linux 7: what was wrong, where, how it came to that, what to do, in many lines."""


def reason(log: str) -> str:
    """Why the verifier refused: its last line before the statistics; "" when it said nothing."""
    lines = [line for line in log.partition(_EXPLANATION)[0].splitlines() if line and not line.startswith(_STATISTICS)]
    return lines[-1] if lines else ""


@contextmanager
def loaded(program: int, map_fd: int = -1, number: int = 0) -> Iterator[int]:
    """The program's descriptor. Raises OSError when the verifier refuses it."""
    fd, log = load(program, map_fd, number)
    check(f"bpf(BPF_PROG_LOAD) ({reason(log)})", fd)
    try:
        yield fd
    finally:
        os.close(fd)


def load(program: int, map_fd: int = -1, number: int = 0, *, log_level: int = 1) -> tuple[int, str]:
    """The descriptor or -errno, and the verifier's log (1: the last path, 2: every state, 4: only refusals)."""
    log = ffi.new("char[]", _LOG_BYTES)
    fd = lib.mc_bpf_load(program, map_fd, number, log_level, log, _LOG_BYTES)
    return fd, ffi.string(log).decode("utf-8", "replace")


@contextmanager
def array(entries: int) -> Iterator[int]:
    """An array map of 64-bit counters."""
    fd = check("bpf(BPF_MAP_CREATE)", lib.mc_bpf_map(ARRAY, entries, 0, 0))
    try:
        yield fd
    finally:
        os.close(fd)


def counter(map_fd: int, key: int = 0) -> int:
    value = ffi.new("uint64_t *")
    check("bpf(BPF_MAP_LOOKUP_ELEM)", lib.mc_bpf_lookup(map_fd, key, value))
    return int(value[0])


def call(program_fd: int, context: int = 0) -> int:
    """Runs a BPF_PROG_TYPE_SYSCALL program; what it left in its context."""
    word = ffi.new("uint64_t *", context)
    check("bpf(BPF_PROG_RUN)", lib.mc_bpf_call(program_fd, word))
    return int(word[0])


def own_pid() -> int:
    """This process as the kernel numbers it, whatever PID namespace it is in."""
    with loaded(lib.MC_BPF_SELF) as program:
        return call(program) >> 32


def tracepoint_id(name: str) -> int | None:
    """The number of "sched/sched_switch", or None. Mounts tracefs, in a mount namespace of this process only."""
    mount_privately()
    try:
        return int((TRACEFS / "events" / name / "id").read_text())
    except FileNotFoundError:
        return None


# ---- requirements ----


def bpf_allowed() -> Missing | None:
    """The system call exists and takes a program from us."""
    fd, _ = load(lib.MC_BPF_ACCEPTED)
    if fd < 0:
        return Missing(f"bpf(BPF_PROG_LOAD) was refused: {os.strerror(-fd)}", "root, or CAP_BPF and CAP_PERFMON")
    os.close(fd)
    return None


def tracefs() -> Missing | None:
    try:
        mount_privately()
    except MinicompError as error:
        return Missing(f"tracefs: {error}", "root, and a kernel with CONFIG_FTRACE")
    return None
