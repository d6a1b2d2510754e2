"""The [knobs] tables: what of the kernel's behaviour is changed while the compositor runs (docs/knobs.md).

Every key's default, None, leaves the kernel as it is. Applying, reading back and restoring is lab/knobs' work; here are
only names, types and limits.
"""

from typing import Annotated, Any, Literal

from minicomp.config.validation import Meta, Struct

_CpuText = Annotated[
    str,
    Meta(
        pattern=r"^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$", description='a list such as "0,2-3", or "" for no change'
    ),
]
CpuList = _CpuText | Annotated[int, Meta(ge=0, le=65535, description="a number")]
ThreadClass = Literal["other", "fifo", "rr", "deadline"]
Microseconds = Annotated[int, Meta(ge=1, le=10_000_000, description="microseconds, 1 to 10000000")]
Fraction = Annotated[float, Meta(gt=0, le=1, description="a number above 0, at most 1")]
HugeDefrag = Literal["always", "defer", "defer+madvise", "madvise", "never"]
HugeShmem = Literal["always", "within_size", "advise", "never", "deny", "force"]
HUGE_SIZE_SETTINGS = ("always", "inherit", "madvise", "never")


class KnobTable(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of knobs."""

    def is_set(self) -> bool:
        """Whether any key differs from its default, that is: whether there is anything to do."""
        return bool(self.given())

    def given(self) -> dict[str, Any]:
        """The keys that differ from their default, as in a configuration file."""
        names = zip(self.__struct_encode_fields__, self.__struct_fields__, strict=True)
        return {key: value for key, name in names if (value := getattr(self, name)) not in (None, "", {})}


class ThreadKnobs(KnobTable, frozen=True, rename={"policy": "class"}):
    """How one thread is scheduled. See sched(7) and docs/knobs.md for what each class needs."""

    policy: ThreadClass | None = None  # the key is "class"
    nice: Annotated[int, Meta(ge=-20, le=19, description="-20 to 19")] | None = None  # class other
    slice_us: Annotated[int, Meta(ge=100, le=100_000, description="microseconds, 100 to 100000")] | None = None  # other
    priority: Annotated[int, Meta(ge=1, le=99, description="1 to 99")] | None = None  # fifo and rr; default 10
    runtime_us: Microseconds | None = None  # deadline: CPU time in every period
    deadline_us: Microseconds | None = None  # default: the period
    period_us: Microseconds | None = None  # default: the output's refresh
    derive: bool | None = None  # deadline: runtime from measured cost; default: yes when runtime_us is left out
    quantile: Fraction | None = None  # of the CPU time measured per period; default 0.99
    headroom: Annotated[float, Meta(ge=1, le=20, description="a factor, 1 to 20")] | None = None  # default 1.5
    reclaim: bool | None = None  # deadline: may use what other reservations leave over (GRUB)

    def __post_init__(self) -> None:
        belongs = {
            "other": ("nice", "slice_us"),
            "fifo": ("priority",),
            "rr": ("priority",),
            "deadline": ("runtime_us", "deadline_us", "period_us", "derive", "quantile", "headroom", "reclaim"),
        }
        policy = self.policy or "other"
        for name in self.__struct_fields__:
            if name != "policy" and getattr(self, name) is not None and name not in belongs[policy]:
                classes = [key for key, names in belongs.items() if name in names]
                raise ValueError(f"{name} has no meaning for class {policy}; it needs class {' or '.join(classes)}")
        if self.derive is False and self.runtime_us is None:
            raise ValueError("derive = false needs runtime_us")
        if self.derive and self.runtime_us is not None:
            raise ValueError("runtime_us is either given or derived: leave out one of runtime_us and derive")
        times = [time for time in (self.runtime_us, self.deadline_us, self.period_us) if time is not None]
        if times != sorted(times):
            raise ValueError("the kernel wants runtime_us <= deadline_us <= period_us")


class CpusetKnobs(KnobTable, frozen=True):
    """Which CPUs and memory nodes whom belong to (cgroup cpusets)."""

    partition: Literal["none", "member", "root", "isolated"] | None = None  # of the cpuset that render_cpus makes
    render_cpus: CpuList = ""
    compositor_cpus: CpuList = ""
    client_cpus: CpuList = ""
    other_cpus: CpuList = ""  # everything else on the machine
    mems: CpuList = ""


class HugePageKnobs(KnobTable, frozen=True):
    """Transparent huge pages. The machine's settings act on memory that is mapped afterwards."""

    enabled: Literal["always", "madvise", "never"] | None = None
    defrag: HugeDefrag | None = None
    shmem_enabled: HugeShmem | None = None  # memfd: wl_shm pools, and DRM objects
    mthp: dict[str, str] = {}  # size in KiB -> one of HUGE_SIZE_SETTINGS
    disable_self: bool | None = None  # PR_SET_THP_DISABLE
    advise_buffers: bool | None = None  # MADV_HUGEPAGE on our own buffers

    def __post_init__(self) -> None:
        for size, setting in self.mthp.items():
            if not size.isdecimal() or setting not in HUGE_SIZE_SETTINGS:
                raise ValueError(
                    f'mthp: "{size}" = "{setting}": wanted is KiB = one of {", ".join(HUGE_SIZE_SETTINGS)}'
                )


class MemoryKnobs(KnobTable, frozen=True):
    """Page faults: taken before they can be in somebody's way."""

    lock_all: bool | None = None  # mlockall(MCL_CURRENT | MCL_FUTURE): every page now, and of what is mapped later
    lock_on_fault: bool | None = None  # with lock_all: pages stay once they were touched (MCL_ONFAULT); default false
    populate: bool | None = None  # frame buffers and trace rings are mapped whole
    prefault_stack_kib: Annotated[int, Meta(ge=0, le=8192, description="KiB, 0 to 8192")] | None = None
    released: Literal["keep", "wipe", "recycle"] | None = None  # MADV_DONTNEED, MADV_FREE
    hugetlb_pool: Literal["none", "2M", "1G"] | None = None  # pages reserved for clients' buffers, and clients told so
    hugetlb_pages: Annotated[int, Meta(ge=1, le=65536, description="1 to 65536 pages")] | None = (
        None  # default: 32 of 2M, 1 of 1G
    )

    def __post_init__(self) -> None:
        if self.lock_on_fault is not None and not self.lock_all:
            raise ValueError("lock_on_fault needs lock_all = true")
        if self.hugetlb_pages is not None and self.hugetlb_pool in (None, "none"):
            raise ValueError('hugetlb_pages needs hugetlb_pool = "2M" or "1G"')


class SystemKnobs(KnobTable, frozen=True):
    """Settings of the whole machine, and of every thread of the compositor."""

    timer_slack_ns: Annotated[int, Meta(ge=1, le=1_000_000_000, description="ns, 1 to 1000000000")] | None = None
    cpu_dma_latency_us: Annotated[int, Meta(ge=0, le=1_000_000, description="us, 0 to 1000000; 0: no sleep")] | None = (
        None
    )
    governor: Annotated[str, Meta(pattern=r"^[a-z_]+$", description='a cpufreq governor: "performance"')] | None = None
    autogroup: bool | None = None  # /proc/sys/kernel/sched_autogroup_enabled
    rt_runtime_us: Annotated[int, Meta(ge=-1, le=1_000_000, description="-1 (no limit) to 1000000")] | None = None
    uclamp_min: Annotated[int, Meta(ge=0, le=1024, description="0 to 1024")] | None = None  # loop and render thread


class LockKnobs(KnobTable, frozen=True):
    """The compositor lock."""

    kind: Literal["pi", "plain"] | None = None


class KnobSettings(KnobTable, frozen=True):
    """All knobs. `strict`: what cannot be had ends the start (exit code 69); otherwise it is a warning."""

    strict: bool | None = None
    drop_privileges: bool | None = None  # give up every capability once the helper runs
    render: ThreadKnobs = ThreadKnobs()
    loop: ThreadKnobs = ThreadKnobs()
    cpuset: CpusetKnobs = CpusetKnobs()
    thp: HugePageKnobs = HugePageKnobs()
    memory: MemoryKnobs = MemoryKnobs()
    system: SystemKnobs = SystemKnobs()
    lock: LockKnobs = LockKnobs()

    def is_set(self) -> bool:
        tables = (getattr(self, name) for name in self.__struct_fields__)
        return bool(self.drop_privileges) or any(table.is_set() for table in tables if isinstance(table, KnobTable))
