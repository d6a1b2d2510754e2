"""Memory: what may be locked, and what the kernel does with huge pages."""

import resource
from collections.abc import Iterator
from pathlib import Path

from minicomp.doctor.finding import Finding, Purpose, bracketed, read_text

THP = "/sys/kernel/mm/transparent_hugepage"
WANTED_MEMLOCK_BYTES = 512 << 20  # mlockall counts what is mapped, touched or not: about 340 MiB
LAB = (Purpose.LAB,)


def check() -> Iterator[Finding]:
    """mlock limit, transparent huge pages (anonymous and shared memory), hugetlb."""
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    privileged = has_capability(14)
    enough = privileged or hard == resource.RLIM_INFINITY or hard >= WANTED_MEMLOCK_BYTES
    shown = "CAP_IPC_LOCK: no limit" if privileged else f"soft {_size(soft)}, hard {_size(hard)}"
    todo = (
        f"raise it to {_size(WANTED_MEMLOCK_BYTES)} (systemd: LimitMEMLOCK=) so that page faults cannot delay a frame"
    )
    yield Finding("locked memory (RLIMIT_MEMLOCK)", enough, shown, todo)

    enabled = read_text(f"{THP}/enabled")
    if enabled is None:
        yield Finding(
            "transparent huge pages", False, "this kernel has none", "a kernel with CONFIG_TRANSPARENT_HUGEPAGE", LAB
        )
    else:
        shmem = read_text(f"{THP}/shmem_enabled") or "unknown"
        defrag = read_text(f"{THP}/defrag") or "unknown"
        why = f"anonymous {bracketed(enabled)}, shared memory {bracketed(shmem)}, defrag {bracketed(defrag)}"
        # `always` makes a page fault compact memory first: a stall of milliseconds in somebody's frame.
        good = bracketed(defrag) != "always"
        yield Finding("transparent huge pages", good, why, f"echo madvise > {THP}/defrag: `always` stalls in reclaim")
    sizes = sorted(
        path.name.removeprefix("hugepages-") for path in Path("/sys/kernel/mm/hugepages").glob("hugepages-*")
    )
    yield Finding(
        "hugetlb", bool(sizes), f"sizes {', '.join(sizes) or 'none'}", "a kernel with CONFIG_HUGETLBFS (experiments)"
    )


def has_capability(number: int) -> bool:
    """Whether this process has the capability `number` of linux/capability.h in effect."""
    for line in (read_text("/proc/self/status") or "").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def _size(limit_bytes: int) -> str:
    return "unlimited" if limit_bytes == resource.RLIM_INFINITY else f"{limit_bytes >> 10} KiB"
