"""What the document calls new: whether this kernel and this CPU have it."""

from __future__ import annotations

import errno
import mmap
import os
import platform
from pathlib import Path

from minicomp.lab.probes.io_uring.ring import NEEDED
from minicomp.lab.probes.probe import Budget, Number, Probe, Result, cannot_test, holds
from minicomp.lab.probes.requirements import kernel_version
from minicomp.native.probes import lib

OPERATIONS = {"SEND": 26, "RECV": 27, "SENDMSG": 9, "RECVMSG": 10, "ACCEPT": 13, "CONNECT": 16, "SEND_ZC": 47}
"""enum io_uring_op."""
ARENA, MMAPABLE = 33, 1 << 10
SCHED_EXT = Path("/sys/kernel/sched_ext/state")


def measure_networking(budget: Budget) -> Result:
    has = {name: lib.mc_uring_has(number) for name, number in OPERATIONS.items()}
    if min(has.values()) < 0:
        if kernel_version() >= (5, 1):
            return cannot_test("the kernel has io_uring and refuses it to us", NEEDED)
        return holds(f"absent: Linux {platform.release()} has no io_uring", when=False)
    there, absent = ([name for name in has if bool(has[name]) is wanted] for wanted in (True, False))
    return holds(
        f"present: {', '.join(there)}; absent: {', '.join(absent) or 'none'}", when=has["SEND"] and has["RECV"]
    )


def measure_arena(budget: Budget) -> Result:
    fd = lib.mc_bpf_map(ARENA, 4, MMAPABLE, 0)
    if fd in (-errno.EPERM, -errno.EACCES):
        return cannot_test(f"bpf(BPF_MAP_CREATE) was refused: {os.strerror(-fd)}", "root, or CAP_BPF")
    if fd < 0:
        return holds(f"absent: a map of type BPF_MAP_TYPE_ARENA is refused: {os.strerror(-fd)}", when=False)
    try:
        mmap.mmap(fd, 4 * mmap.PAGESIZE).close()
    finally:
        os.close(fd)
    return holds("present: an arena of 4 pages was made and mapped")


def measure_uintr(budget: Budget) -> Result:
    flags = Path("/proc/cpuinfo").read_text().partition("\nflags")[2].partition("\n")[0].split()
    return holds(
        f"{'present in the CPU' if 'uintr' in flags else 'absent: /proc/cpuinfo has no flag uintr'}; Linux "
        f"{platform.release()} has no system call for it in its table",
        when="uintr" in flags,
    )


def measure_sched_ext(budget: Budget) -> Result:
    if not SCHED_EXT.exists():
        return holds(f"absent: no {SCHED_EXT}", when=False)
    return holds(f"present, {SCHED_EXT.read_text().strip()}")


def measure_rvkms(budget: Budget) -> Result:
    modules = Path("/lib/modules") / platform.release()
    lists = [path.read_text() for name in ("modules.builtin", "modules.order") if (path := modules / name).exists()]
    loaded = Path("/sys/module/rvkms").exists()
    found = loaded or any("rvkms" in text for text in lists)
    vkms = Path("/sys/module/vkms").exists() or any("/vkms" in text for text in lists)
    seen = "present" if found else f"absent: neither loaded nor among the modules of {platform.release()}"
    seen += "; vkms, in C, is there" if vkms else "; nor is vkms"
    return holds(seen, Number.exact("lists of modules read", len(lists)), when=found)


def measure_rust(budget: Budget) -> Result:
    """v0-mangled names: _RNv... and with the crate's own name in them."""
    with open("/proc/kallsyms", encoding="ascii") as file:
        symbols = [name for line in file if (name := line.split()[2]).startswith("_R") and "6kernel" in name]
    subsystems = [
        word for word in ("drm", "net", "fs", "block") if any(f"{len(word)}{word}" in name for name in symbols)
    ]
    seen = f"{len(symbols)} symbols of the crate named kernel are in this kernel"
    seen += (
        f", of its subsystems: {', '.join(subsystems) or 'none of DRM, net, fs, block'}"
        if symbols
        else ": built without Rust"
    )
    return holds(seen, Number.exact("symbols", len(symbols)), when=bool(symbols))


PROBES = (
    Probe(
        name="new-io-uring-networking",
        section=9,
        statement="io_uring-based networking (IORING_OP_SEND/RECV) is now production-ready",
        method="IORING_REGISTER_PROBE says which operations the kernel has. Whether they are ready for production is no "
        "measurement.",
        used_by="loop.wait = io_uring waits by polling; sockets are read by libwayland with recvmsg.",
        measure=measure_networking,
    ),
    Probe(
        name="new-bpf-arena",
        section=9,
        statement="BPF arena (kernel 6.9): allows BPF programs to allocate memory from a shared arena",
        method="A map of type BPF_MAP_TYPE_ARENA is made and mapped.",
        used_by="Not used: bpftrace sends each event to the collector, nothing is kept in a program.",
        measure=measure_arena,
    ),
    Probe(
        name="new-user-interrupts",
        section=9,
        statement="User-space interrupt (uintr, x86): CPU can deliver interrupts directly to userspace, bypassing the kernel",
        method="The CPU's flag in /proc/cpuinfo.",
        used_by="Not used: Linux has no interface for it.",
        measure=measure_uintr,
    ),
    Probe(
        name="new-sched-ext",
        section=9,
        statement="sched_ext: schedulers written in BPF (not in the document; asked for beside its news)",
        method="The file /sys/kernel/sched_ext/state.",
        used_by="Not used: fifo and deadline are set by thread (docs/knobs.md).",
        measure=measure_sched_ext,
    ),
    Probe(
        name="new-rvkms",
        section=9,
        statement="Rust in the kernel: rvkms (virtual KMS driver) merged",
        method="Looked for among loaded modules and in this kernel's lists of modules.",
        used_by="Not used: no kernel here has a virtual display driver of either kind; the VM has virtio-gpu (docs/vm.md).",
        measure=measure_rvkms,
    ),
    Probe(
        name="new-rust",
        section=9,
        statement="Rust abstractions for DRM, network, and filesystem subsystems expanding",
        method="/proc/kallsyms is searched for symbols of the kernel's Rust crate. Holds: this kernel was built with Rust.",
        used_by="Not used: what a kernel is written in is not seen from outside.",
        measure=measure_rust,
    ),
)
