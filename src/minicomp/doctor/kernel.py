"""What the kernel offers to explain and to shape latency: cgroups, pressure, tracing, BPF, io_uring."""

import errno
import os
import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from minicomp.doctor import syscalls
from minicomp.doctor.finding import Finding, Purpose, read_text

LAB = (Purpose.LAB,)
MINIMUM_VERSION = (5, 10)


def check() -> Iterator[Finding]:
    """Kernel version, cgroup and cpuset, PSI, tracefs, BPF and BTF, io_uring, dma-buf allocators."""
    release = platform.release()
    minimum = ".".join(map(str, MINIMUM_VERSION))
    yield Finding(
        "kernel", kernel_version(release) >= MINIMUM_VERSION, release, f"Linux {minimum} or newer", tuple(Purpose)
    )
    yield from cgroups(read_text("/proc/mounts") or "")
    pressure = read_text("/proc/pressure/cpu")
    yield Finding("pressure (PSI)", pressure is not None, "on" if pressure else "off", "boot with psi=1 (run records)")
    yield _tracefs()
    yield from _bpf()
    yield _tried("io_uring", syscalls.try_io_uring, "sysctl kernel.io_uring_disabled=0 (for loop.wait = io-uring)")
    for device in ("/dev/udmabuf", "/dev/dma_heap/system"):
        good = os.access(device, os.R_OK | os.W_OK)
        why = "can be opened" if good else ("no rights" if Path(device).exists() else "not there")
        yield Finding(device, good, why, "modprobe udmabuf, or a kernel with CONFIG_DMABUF_HEAPS (dma-buf tests)")


def kernel_version(release: str) -> tuple[int, int]:
    """(6, 1) for `6.1.0-28-amd64`."""
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None:
        raise ValueError(f"not a kernel release: {release!r}")
    return int(numbers[1]), int(numbers[2])


def cgroups(mounts: str) -> Iterator[Finding]:
    """The cgroup version and whether cpusets can be made, from /proc/mounts."""
    unified, legacy_cpuset, legacy = None, None, False
    for line in mounts.splitlines():
        _, where, kind, options = line.split()[:4]
        if kind == "cgroup2":
            unified = unified or where
        elif kind in ("cgroup", "cpuset"):
            legacy = True
            if kind == "cpuset" or "cpuset" in options.split(","):
                legacy_cpuset = where
    version = "v2" if unified and not legacy else "v1 and v2" if unified else "v1" if legacy else "none mounted"
    controllers = (read_text(f"{unified}/cgroup.controllers") or "").split() if unified else []
    yield Finding("cgroups", bool(unified or legacy), version, "mount -t cgroup2 none /sys/fs/cgroup", LAB)

    todo = "the cpuset controller, and root or the root helper (docs/knobs.md), for knobs.cpuset"
    if "cpuset" in controllers:
        good = os.access(f"{unified}/cgroup.subtree_control", os.W_OK)
        yield Finding("cpuset", good, f"v2 at {unified}, {'writable' if good else 'not writable'}", todo, LAB)
    elif legacy_cpuset:
        good = os.access(legacy_cpuset, os.W_OK)
        why = f"v1 at {legacy_cpuset}, {'writable' if good else 'not writable'} (exclusive groups for partitions)"
        yield Finding("cpuset", good, why, todo, LAB)
    else:
        yield Finding("cpuset", False, "no cpuset controller", todo, LAB)


def _tracefs() -> Finding:
    for folder in ("/sys/kernel/tracing", "/sys/kernel/debug/tracing"):
        if Path(folder, "available_events").exists():
            readable = os.access(f"{folder}/available_events", os.R_OK)
            why = f"{folder}, {'readable' if readable else 'not readable by us'}"
            return Finding("tracefs", readable, why, "run as root, or give your group the rights (mount -o gid=)", LAB)
    if Path("/sys/kernel/tracing").is_dir() and "tracefs" in (read_text("/proc/filesystems") or ""):
        # lab.kernel.tracefs mounts it in a namespace of its own.
        why = "not mounted; who traces mounts it for itself alone"
        return Finding("tracefs", os.geteuid() == 0, why, "trace the kernel as root", LAB)
    return Finding("tracefs", False, "not in this kernel", "a kernel with CONFIG_TRACING", LAB)


def _bpf() -> Iterator[Finding]:
    unprivileged = {"0": "allowed to all", "1": "privileged only, until reboot", "2": "privileged only"}
    setting = unprivileged.get(read_text("/proc/sys/kernel/unprivileged_bpf_disabled") or "", "no setting")
    yield _tried("BPF", syscalls.try_bpf, "run as root or with CAP_BPF", setting)
    has_btf = Path("/sys/kernel/btf/vmlinux").exists()
    yield Finding(
        "BTF", has_btf, "/sys/kernel/btf/vmlinux" if has_btf else "missing", "a kernel with CONFIG_DEBUG_INFO_BTF"
    )


def _tried(name: str, call: Callable[[], None], todo: str, detail: str = "") -> Finding:
    try:
        call()
    except OSError as error:
        code = errno.errorcode.get(error.errno or 0, str(error.errno))
        return Finding(name, False, "; ".join(filter(None, (f"{code}: {error.strerror}", detail))), todo)
    return Finding(name, True, "; ".join(filter(None, ("works", detail))))
