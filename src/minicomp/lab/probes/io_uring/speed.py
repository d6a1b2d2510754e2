"""What io_uring saves: time of many reads, and of a socket's round trip against epoll."""

from __future__ import annotations

from minicomp.lab.probes.calls import check
from minicomp.lab.probes.io_uring.ring import allowed
from minicomp.lab.probes.probe import Basis, Budget, Number, Probe, Result, cannot_test, holds, near
from minicomp.lab.probes.requirements import cpus
from minicomp.native.probes import ffi, lib

BATCH = 64
READERS = {"read(2)": lib.MC_PROBE_READ, "io_uring": lib.MC_PROBE_URING, "SQPOLL": lib.MC_PROBE_URING_SQPOLL}
SERVERS = {
    "epoll": lib.MC_PROBE_SERVE_EPOLL,
    "io_uring": lib.MC_PROBE_SERVE_URING,
    "SQPOLL": lib.MC_PROBE_SERVE_URING_SQPOLL,
}
WAKE_UPS_A_FRAME = 10
"""Of the loop thread, generously: a client's commit, a callback, input, a page flip are four."""
FRAME_US = 16_667
CLEARLY = 0.05
STARVED = 3
"""So many times the price of read(2) is not what SQPOLL costs, but what waiting for its thread costs."""
MARGINAL = 0.01
ROUNDS = 2000


def measure_reads(budget: Budget) -> Result:
    batches = budget.pick(200, 4000)
    numbers = {}
    for name, reader in READERS.items():
        times = ffi.new("uint64_t[]", batches)
        done = lib.mc_probe_read_times(reader, batches * BATCH, BATCH, int(budget.seconds / 4 * 1e9), times)
        check(name, done)
        numbers[name] = Number.of(f"a read of {BATCH}, {name}", "ns", [ns / BATCH for ns in list(times)[:done]])
    if numbers["SQPOLL"].low > STARVED * numbers["read(2)"].low:
        why = f"the kernel's thread got no CPU for itself: {numbers['SQPOLL'].low:,.0f} ns a read at best"
        return cannot_test(why, "two idle CPUs")
    seen = "undisturbed, a read takes " + ", ".join(
        f"{number.low:.0f} ns by {name}" for name, number in numbers.items()
    )
    others = min(numbers["read(2)"].low, numbers["io_uring"].low)
    ratio = numbers["SQPOLL"].low / others
    doubt = near("SQPOLL by the others", ratio, 1 - CLEARLY, within=0.04)
    return holds(seen, *numbers.values(), when=ratio < 1 - CLEARLY, doubt=doubt)


def measure_round_trips(budget: Budget) -> Result:
    turns = budget.pick(1, 20)
    samples: dict[str, list[float]] = {name: [] for name in SERVERS}
    cpu_ns = dict.fromkeys(SERVERS, 0)
    for _ in range(turns):
        for name, server in SERVERS.items():
            times_ns, used_ns = ffi.new("uint64_t[]", ROUNDS), ffi.new("uint64_t *")
            check(name, lib.mc_probe_round_trips(server, ROUNDS, times_ns, used_ns))
            samples[name] += [ns / 1000 for ns in times_ns]
            cpu_ns[name] += used_ns[0]
        if budget.spent:
            break
    times = {name: Number.of(f"round trip, {name}", "us", some) for name, some in samples.items()}
    cpu = {
        name: Number.exact(f"CPU a round trip, {name}", used / len(samples[name]) / 1000, "us")
        for name, used in cpu_ns.items()
    }
    saved_us = times["epoll"].value - min(times["io_uring"].value, times["SQPOLL"].value)
    share = max(0.0, saved_us) * WAKE_UPS_A_FRAME / FRAME_US
    seen = ", ".join(f"{name} {times[name].value:.1f} us ({cpu[name].value:.1f} us CPU)" for name in SERVERS)
    seen = f"a round trip: {seen}; {WAKE_UPS_A_FRAME} wake-ups a frame would save {share:.2%} of a frame at 60 Hz"
    return holds(seen, *times.values(), *cpu.values(), when=share < MARGINAL, doubt=near("the share", share, MARGINAL))


PROBES = (
    Probe(
        name="io-uring-fastest",
        section=6,
        statement="SQPOLL: this is the fastest path for high-frequency I/O.",
        method=f"Reads of 64 bytes of /dev/zero, {BATCH} at a time: by read(2), by io_uring_enter, by SQPOLL with the "
        "completions looked for in the ring. Holds: SQPOLL takes at least 5 % less than the others. Compared by the 5th percentile of the batches: where the kernel's thread has "
        "no CPU for itself, a batch takes as long as the scheduler likes. What /dev/zero costs is next to nothing: this "
        "is the price of the path alone.",
        used_by="Not used for reading: libwayland and libinput read their fds themselves.",
        requires=(allowed, cpus(2)),
        measure=measure_reads,
        basis=Basis.TIMES,
    ),
    Probe(
        name="io-uring-round-trip",
        section=6,
        statement="io_uring could replace epoll for compositors, but the benefit is marginal (compositors are "
        "not I/O-bound).",
        method="64 bytes there and back on a Unix socket pair; the server waits by epoll and calls recv and send, or does "
        "all of it by io_uring. CPU is the process's, the SQPOLL thread's included. Marginal: what the better one saves "
        f"in {WAKE_UPS_A_FRAME} round trips is less than {MARGINAL:.0%} of a frame at 60 Hz.",
        used_by="loop.wait; minicomp's own loop on each kind: minicomp lab run configs/experiments/epoll-vs-io_uring.toml",
        requires=(allowed, cpus(2)),
        measure=measure_round_trips,
        basis=Basis.COMPARED,
    ),
)
