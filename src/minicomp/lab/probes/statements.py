"""Every statement of the kernel claims, in the document's order, and the probes that look at it.

The report of `minicomp lab probe` and the table in docs/kernel-claims.md are led by this list; a test keeps it whole
(tests/unit/test_probe_statements.py): every statement has a probe, every probe a statement. The words are short and our
own; a probe's `statement` quotes the document. Its glossary repeats what its sections say and is not listed again.
What was asked for beside the document (limits, robust mutexes, costs) is in BEYOND.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minicomp.lab.probes.probe import SECTIONS, Probe, Result, Verdict

Lines = tuple[tuple[str, str], ...]
"""(the statement, the names of its probes)"""

DOCUMENT: dict[int, Lines] = {
    1: (
        ("An address has 48 bits, or 57 with five levels of page tables", "memory-address-bits"),
        ("Page tables map virtual to physical pages, level by level", "memory-page-tables memory-huge-depth"),
        ("Each level's table is a 4 KiB page of 512 entries", "memory-page-tables"),
        ("Four levels of 9 bits and 12 bits of offset give 256 TiB", "memory-address-bits memory-page-tables"),
        ("A TLB miss costs four memory reads", "memory-page-walk"),
        ("How far the TLB reaches therefore matters enormously", "memory-stlb-reach"),
        ("L1 data TLB: 64 to 128 entries, 1 cycle", "memory-tlb"),
        ("L1 instruction TLB: 64 to 128 entries, 1 cycle", "memory-itlb"),
        ("Second-level TLB: 1024 to 2048 entries, 7 to 10 cycles", "memory-stlb"),
        ("A page walk takes 20 to 100 cycles", "memory-walk-cost"),
        ("2048 entries cover 8 MiB; of 200 MiB most accesses miss", "memory-stlb-reach memory-page-walk"),
        ("Huge pages help there", "memory-stlb-reach"),
        ("1 GiB takes 262,144 entries of 4 KiB, 512 of 2 MiB, one of 1 GiB", "memory-page-sizes"),
        ("2 MiB pages come by THP or hugetlbfs, 1 GiB pages by hugetlbfs only", "memory-page-sizes"),
        ("A 2 MiB page is mapped a level higher (PMD)", "memory-huge-depth"),
        ("THP makes 512 small pages a huge one by itself, for unchanged programs", "memory-thp-automatic"),
        ("enabled = madvise is best for a compositor", "memory-thp-best"),
        ("madvise(MADV_HUGEPAGE) opts in", "memory-thp-madvise"),
        ("Compaction for THP can cause latency spikes", "memory-thp-compaction"),
        ("defrag = defer+madvise is a setting of the kernel", "memory-thp-defrag"),
        ("With it only advised regions reclaim at once, and the spikes are gone", "memory-thp-compaction"),
        ("mmap serves files, shared and anonymous memory", "memory-map-shared memory-map-anonymous"),
        ("MAP_PRIVATE is copy-on-write", "memory-map-private"),
        ("Shared libraries are mapped MAP_PRIVATE", "memory-map-libraries"),
        ("MAP_SHARED: others see writes, and the file gets them", "memory-map-shared"),
        ("Wayland's shm buffers are MAP_SHARED", "memory-map-shared"),
        ("MAP_ANONYMOUS: no file, zero-filled", "memory-map-anonymous"),
        ("Heap and thread stacks are MAP_ANONYMOUS", "memory-map-heap"),
        ("MAP_POPULATE faults all pages at once, for paths that cannot take a fault", "memory-map-populate"),
        ("MADV_DONTNEED unmaps at once; the next access reads zeros, always", "memory-dontneed"),
        ("MADV_FREE keeps the content until the page is reclaimed", "memory-free"),
        ("Whether a freed page is reclaimed is not determined", "memory-free-pressure"),
        ("MADV_DONTNEED is expensive, MADV_FREE cheap", "memory-advice-cost"),
        ("glibc's free() uses MADV_DONTNEED", "memory-free-in-glibc"),
        ("jemalloc and tcmalloc use MADV_FREE", "memory-free-in-allocators"),
        ("Wipe secrets by MADV_DONTNEED", "memory-dontneed-wipes"),
        ("Give an allocator's pages back by MADV_FREE, without zeroing", "memory-free memory-advice-cost"),
    ),
    2: (
        ("CFS was the fair scheduler from 2.6.23 to 6.5; EEVDF replaced it in 6.6", "sched-class"),
        ("CFS runs the task with the smallest vruntime next, kept in a red-black tree", "sched-cfs-order"),
        ("A higher nice value lets vruntime grow faster, so gives less CPU", "sched-nice"),
        ("CFS has no fixed slices: they depend on the number of runnable tasks and their weights", "sched-slices"),
        ("CFS could starve a short task that wakes until others' slices end", "sched-cfs-starves"),
        ("EEVDF runs, of the eligible tasks, the one with the earliest virtual deadline", "sched-eevdf-order"),
        ("EEVDF lowers the latency of interactive tasks without tuning", "sched-fair-wakeup"),
        ("Wake-ups became about 30 % faster with EEVDF", "sched-eevdf-gain"),
        ("The scheduler's debug file says EEVDF on 6.6 and later", "sched-eevdf-shown"),
        ("min_granularity_ns tunes EEVDF; its default is 750 us", "sched-granularity"),
        ("Background tasks should never preempt a render thread: SCHED_FIFO", "sched-wakeup"),
        ("A FIFO thread preempts all threads of the fair class", "sched-fifo-preempts"),
        ("Only FIFO threads of higher priority (1 to 99) preempt it", "sched-fifo-priorities"),
        ("chrt -f sets the class from outside", "sched-fifo-outside"),
        ("A systemd unit sets it by CPUSchedulingPolicy and CPUSchedulingPriority", "sched-fifo-unit"),
        ("A FIFO thread that never sleeps locks the CPU up", "sched-fifo-loop"),
        ("SCHED_DEADLINE bounds execution instead", "sched-deadline-bounded"),
        ("It guarantees 5 ms of CPU every 16.67 ms", "sched-deadline"),
        ("It is set by sched_setattr", "sched-deadline-refusals"),
        ("A cpuset binds processes to its CPUs", "sched-cpuset"),
        ("Pinning everything else away ends contention for the caches", "sched-cpuset-caches"),
    ),
    3: (
        ("An open fd points to a struct file with its position and flags", "file-open"),
        ("struct file has f_path, f_op, f_count, f_flags, f_mode, f_pos, private_data", "file-structure"),
        ("The fd table maps numbers to struct files; several may point to one", "file-dup"),
        ("dup() makes a new fd for the same struct file", "file-dup"),
        ("fork() copies the table, and each entry counts as a reference", "file-fork"),
        ("The file is released when the last reference is closed", "file-close"),
        ("Wayland passes buffers' fds by SCM_RIGHTS over a Unix socket", "scm-same-file"),
        ("sendmsg makes an fd for the same struct file in the receiver's table", "scm-when"),
        ("Sending takes a reference to the file", "scm-in-flight"),
        ("The receiver's number may be another one", "scm-number"),
        ("No data is copied: both hold the same kernel object", "scm-cost scm-same-file"),
        ("With a dma-buf both have the same GPU memory", "scm-dma-buf"),
        ("The sender may close its fd", "scm-sender-closes"),
        ("Every wl_buffer is backed by a dma-buf", "buffers-dma-buf"),
        ("Zero copies, zero serialization", "scm-cost"),
    ),
    4: (
        ("Mutexes, condition variables and semaphores of glibc are built on futexes", "futex-built-on"),
        ("Without contention a lock is one atomic instruction and no system call", "futex-uncontended"),
        ("With contention, and only then, a thread enters the kernel to sleep", "futex-hand-over futex-uncontended"),
        ("FUTEX_WAIT queues a thread by the word's address; FUTEX_WAKE wakes one", "futex-wake-one"),
        ("glibc's mutex has three states: free, locked, locked with waiters", "futex-states"),
        ("The slow path spins briefly, then sleeps", "futex-spin"),
        ("The state with waiters makes unlocking wake somebody, so no wake-up is lost", "futex-lost"),
        ("A high thread can wait for a low one while a middle one runs: priority inversion", "futex-inversion"),
        ("FUTEX_LOCK_PI raises the holder to the highest priority among its waiters", "futex-inherit"),
        ("PTHREAD_PRIO_INHERIT gives a mutex that does so", "futex-inherit futex-inversion"),
    ),
    5: (
        ("struct eventpoll has a tree of watched fds, a ready list and two wait queues", "epoll-structure"),
        ("EPOLL_CTL_ADD inserts into a red-black tree, O(log n)", "epoll-insertion"),
        ("A callback on the fd's wait queue moves it to the ready list and wakes a sleeper", "epoll-delivery"),
        ("epoll_wait returns what is ready at once, else sleeps", "epoll-level epoll-delivery"),
        (".poll_wait is for an epoll inside an epoll", "epoll-nested"),
        ("poll and select look at every fd in every call: O(n)", "epoll-delivery"),
        ("epoll delivers in O(1) for each ready fd", "epoll-delivery"),
        ("One event wakes all threads that wait in one epoll instance", "epoll-herd-shared"),
        ("Of a woken herd one handles the event, the others sleep again", "epoll-herd"),
        ("With EPOLLEXCLUSIVE one waiter is woken", "epoll-exclusive"),
        ("Level-triggered: reported again while still ready", "epoll-level"),
        ("Edge-triggered: what is left unread is not reported again until new data comes", "epoll-edge-lost"),
        ("Edge-triggered is faster: fewer returns", "epoll-edge-returns"),
        ("wlroots uses level-triggered epoll", "epoll-level-in-wlroots"),
    ),
    6: (
        ("Requests and completions go through rings in shared memory, without system calls", "io-uring-fast-path"),
        ("A completion carries the bytes read, or an error", "io-uring-completion"),
        ("epoll tells readiness, io_uring completion", "io-uring-completion"),
        ("System calls an operation: two with epoll, none to one with io_uring in batches", "io-uring-syscalls"),
        ("A compositor could batch its DRM ioctls through it", "io-uring-drm-ioctls"),
        ("It is newer, and its security is still being hardened", "io-uring-hardening"),
        ("It could replace epoll in a compositor, with marginal benefit", "io-uring-round-trip io-uring-own-loop"),
        ("The real win is for programs with much storage I/O", "io-uring-storage"),
        ("With SQPOLL a thread of the kernel takes submissions, without a system call", "io-uring-sqpoll"),
        ("sq_thread_idle: the thread is killed after that time without work", "io-uring-sqpoll-idle"),
        ("SQPOLL is the fastest path for frequent I/O", "io-uring-fastest"),
    ),
    7: (
        ("A process points to its namespaces by a struct nsproxy", "namespace-nsproxy"),
        ("Its members are uts, ipc, mnt, pid, net, cgroup and time", "namespace-structure"),
        ("clone() starts a child in new namespaces", "namespace-clone"),
        ("unshare() makes new ones for the caller; its next child is process 1", "namespace-unshare"),
        ("PID: about 5 us", "namespace-cost-pid"),
        ("Mount: about 50 us", "namespace-cost-mnt"),
        ("Network: about 100 us", "namespace-cost-net"),
        ("User: about 10 us", "namespace-cost-user"),
        ("UTS: about 2 us", "namespace-cost-uts"),
        ("IPC: about 5 us", "namespace-cost-ipc"),
        ("cgroup: about 5 us", "namespace-cost-cgroup"),
        ("Time: about 2 us (Linux 5.6)", "namespace-cost-time"),
        ("The mount table is copied on write", "namespace-cost-mounts"),
        ("A network namespace costs 1 to 5 % of network I/O", "namespace-net-loopback"),
        ("Network namespaces are the most expensive kind", "namespace-cost-most"),
        ("They duplicate the whole network stack", "namespace-net-stack"),
        ("Hence the measurable overhead of containers' networking", "namespace-net-veth"),
        ("Unprivileged users may create user namespaces, and in them all other kinds", "namespace-user-others"),
        ("Inside, one is uid 0, mapped to an unprivileged one outside", "namespace-user-root"),
        ("That is how rootless containers work", "namespace-user-others namespace-user-root"),
    ),
    8: (
        ("The verifier looks at a program before it runs; loops must be bounded (5.3)", "bpf-loops"),
        ("It tracks types and ranges of values through every path", "bpf-register-types bpf-out-of-bounds"),
        ("All pointers are followed through helpers with bounds checks", "bpf-only-helpers"),
        ("A program has at most 512 bytes of stack", "bpf-stack"),
        ("At most a million instructions are verified (5.2)", "bpf-million"),
        ("Register types: scalar, context, map value, stack, BTF pointer", "bpf-register-types"),
        ("It refuses access out of bounds", "bpf-out-of-bounds"),
        ("It refuses a pointer whose element was freed", "bpf-freed"),
        ("It refuses a number in place of a pointer", "bpf-type-confusion"),
        ("Programs are compiled to native code; bpf_jit_enable says so", "bpf-jit"),
        ("They run 2 to 5 % slower than the kernel's own code", "bpf-speed"),
        ("CO-RE: fields by name, their offsets found when loading", "bpf-core"),
        ("BTF lets tools print structures with their fields' names", "bpf-pretty-printing"),
        ("The verifier checks access to structures by BTF", "bpf-btf-checks"),
        ("/sys/kernel/btf/vmlinux is there", "bpf-btf"),
        ("KPROBE programs trace any kernel function, such as DRM's ioctls", "bpf-drm-ioctls"),
        ("TRACEPOINT programs: sched:sched_switch", "bpf-sched-switch"),
        ("TRACEPOINT programs: drm:drm_vblank_event", "bpf-vblank"),
        ("PERF_EVENT programs sample cache misses", "bpf-cache-misses"),
        ("CGROUP_DEVICE programs decide on access to the GPU", "bpf-cgroup-device"),
        ("SYSCALL programs are called directly, for complex work on maps", "bpf-syscall"),
    ),
    9: (
        ("The socket of a client that commits wakes the compositor from epoll_wait", "frame-sequence"),
        ("The commit brings the buffer's descriptor by SCM_RIGHTS", "frame-descriptors"),
        ("The compositor imports the buffer, composes, commits to the display", "frame-sequence"),
        ("After the vblank comes the page-flip event", "frame-sequence"),
        ("Then comes wl_callback.done", "frame-callback"),
        ("A frame touches DRM/KMS, dma-bufs, sockets, epoll, futexes, scheduler, memory", "frame-subsystems"),
        ("New: EEVDF replaced CFS in 6.6", "sched-class"),
        ("New: with it interactive tasks wake up about 30 % sooner", "sched-eevdf-gain"),
        ("New: io_uring's SEND and RECV are ready for production", "new-io-uring-networking"),
        ("New: BPF arenas (6.9)", "new-bpf-arena"),
        ("New: user interrupts, delivered past the kernel", "new-user-interrupts"),
        ("New: rvkms, a virtual display driver in Rust, is merged", "new-rvkms"),
        ("New: more of the kernel is in Rust", "new-rust"),
    ),
}  # fmt: skip

BEYOND: dict[int, Lines] = {
    3: (
        ("One message carries at most 253 fds", "scm-max-fd"),
        ("fds for which the receiver has no room are closed, and MSG_CTRUNC set", "scm-receiver-full"),
        ("A user's fds in flight are limited", "scm-in-flight-limit"),
    ),
    4: (("A robust mutex survives its owner's death", "futex-robust"),),
    8: (("What one event costs with a tracepoint program", "bpf-event-cost"),),
    9: (
        ("System calls and ioctls of a frame stay within minicomp's budget", "frame-syscalls"),
        ("sched_ext: schedulers written in BPF", "new-sched-ext"),
    ),
}  # fmt: skip
"""Asked for beside the document."""


@dataclass(frozen=True)
class Statement:
    number: str  # "1.7"; "3+1" is beside the document
    section: int
    words: str
    probes: tuple[str, ...]


def all_statements() -> list[Statement]:
    return [
        Statement(f"{section}{mark}{place}", section, words, tuple(names.split()))
        for section in SECTIONS
        for mark, lines in ((".", DOCUMENT), ("+", BEYOND))
        for place, (words, names) in enumerate(lines.get(section, ()), start=1)
    ]


@dataclass(frozen=True)
class Answer:
    """A statement, what its probes came to, and those of them that were made."""

    statement: Statement
    verdict: Verdict
    results: tuple[tuple[Probe, Result], ...]

    @property
    def in_doubt(self) -> bool:
        """Whether no result that gives the verdict is without a doubt."""
        return all(result.doubt for _, result in self.results if result.verdict is self.verdict)


def answers(results: Sequence[tuple[Probe, Result]]) -> Iterator[Answer]:
    """The statements that these results say something about, in the document's order, with their verdict."""
    by_name = {probe.name: (probe, result) for probe, result in results}
    for statement in all_statements():
        found = [by_name[name] for name in statement.probes if name in by_name]
        if found:
            yield Answer(statement, verdict_of([result.verdict for _, result in found]), tuple(found))


def verdict_of(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a statement with several probes: it holds where no probe that could be made speaks against it."""
    for verdict in (Verdict.DOES_NOT_HOLD, Verdict.HOLDS):
        if verdict in verdicts:
            return verdict
    return Verdict.CANNOT_TEST
