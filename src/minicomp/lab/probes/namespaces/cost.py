"""What creating each kind of namespace costs, against the document's table."""

from __future__ import annotations

from functools import partial
from time import monotonic

from minicomp.lab.probes.calls import check
from minicomp.lab.probes.namespaces.spaces import FLAGS, allowed
from minicomp.lab.probes.probe import Basis, Budget, Curve, Number, Probe, Result, holds, near
from minicomp.lab.probes.text import quantity
from minicomp.native.probes import ffi, lib

TABLE_US = {"pid": 5, "mnt": 50, "net": 100, "user": 10, "uts": 2, "ipc": 5, "cgroup": 5, "time": 2}
"""The document's."""
ROWS = {
    "pid": "PID ~5 us, negligible: just a new pid_namespace struct",
    "mnt": "Mount ~50 us, negligible after setup",
    "net": "Network ~100 us: creates new network stack",
    "user": "User ~10 us, negligible: enables unprivileged namespaces",
    "uts": "UTS ~2 us, negligible: just a hostname string",
    "ipc": "IPC ~5 us, negligible: new SysV IPC namespace",
    "cgroup": "cgroup ~5 us, negligible: new cgroup root view",
    "time": "Time ~2 us, negligible: clock offset (kernel 5.6+)",
}
USES = {
    "pid": "[app] sandbox: the app sees no process but its own.",
    "mnt": "[app] sandbox: a private root, /tmp and home.",
    "net": "[app] sandbox: no network, unless sandbox_network = true.",
    "user": "[app] sandbox: what makes the others possible without root.",
    "uts": "[app] sandbox: the app cannot change the machine's name.",
    "ipc": "[app] sandbox: no shared memory or semaphores of others.",
    "cgroup": "[app] sandbox: the names of the groups outside are not shown; /sys/fs/cgroup is not in it.",
    "time": "Not used: the app's clocks must be the compositor's (presentation-time). Virtual time in the lab is a VM's.",
}
ABOUT = 3.0
ROUNDS = 15
MOUNTS = (1, 10, 100, 1000)


def unshares(kind: str, seconds: float) -> Number:
    """As many as fit in the time, and at least ROUNDS."""
    times, found, until = ffi.new("uint64_t[]", ROUNDS), list[float](), monotonic() + seconds
    while not found or monotonic() < until:
        check(kind, lib.mc_probe_unshare(FLAGS[kind], ROUNDS, times))
        found += [ns / 1000 for ns in times]
    return Number.of(f"unshare, {kind}", "us", found)


def measure_kind(kind: str, budget: Budget) -> Result:
    number = unshares(kind, budget.pick(0.1, 1.0))
    factor = number.value / TABLE_US[kind]
    seen = f"{quantity(number.value)} us, {factor:.2g} times the table's {TABLE_US[kind]} us"
    doubt = near("the factor", factor, 1 / ABOUT, ABOUT)
    return holds(seen, number, when=1 / ABOUT <= factor <= ABOUT, doubt=doubt)


def measure_most(budget: Budget) -> Result:
    numbers = {kind: unshares(kind, budget.pick(0.03, 0.3)) for kind in FLAGS}
    order = sorted(numbers, key=lambda kind: -numbers[kind].value)
    seen = ", ".join(f"{kind} {quantity(numbers[kind].value)} us" for kind in order)
    doubt = near("the second by the first", numbers[order[1]].value / numbers[order[0]].value, 1.0)
    return holds(seen, *numbers.values(), when=order[0] == "net", doubt=doubt)


def measure_mounts(budget: Budget) -> Result:
    numbers, rounds = [], budget.pick(15, 100)
    for before, mounts in zip((0, *MOUNTS), MOUNTS, strict=False):
        times = ffi.new("uint64_t[]", rounds)
        check("mounts", lib.mc_probe_unshare_mounts(mounts - before, rounds, times))
        numbers.append(Number.of(f"{mounts} more mounts", "us", [ns / 1000 for ns in times]))
    growth = numbers[-1].value / numbers[0].value
    curve = Curve(
        f"A new mount namespace (n = {rounds} a point)",
        "mounts besides the machine's",
        "median of unshare (us)",
        {"unshare": [(float(count), number.value) for count, number in zip(MOUNTS, numbers, strict=True)]},
        log_x=True,
        log_y=True,
    )
    seen = f"with {MOUNTS[0]} mount besides the machine's {quantity(numbers[0].value)} us, with {MOUNTS[-1]} {quantity(numbers[-1].value)} us: "
    seen += "every mount is copied" if growth > 3 else "the same"
    return holds(seen, *numbers, curves=[curve], when=growth <= 3, doubt=near("the growth", growth, 3))


_METHOD = "A forked process calls unshare(2) for this kind; that call is timed (its end, which the kernel does later, is not)."

PROBES = (
    *(
        Probe(
            name=f"namespace-cost-{kind}",
            section=7,
            statement=ROWS[kind],
            method=f"{_METHOD} Holds: between a third and three times the table's number.",
            used_by=USES[kind],
            requires=(partial(allowed, kind),),
            measure=partial(measure_kind, kind),
            basis=Basis.TIMES,
        )
        for kind in FLAGS
    ),
    Probe(
        name="namespace-cost-most",
        section=7,
        statement="Network namespaces are the most expensive",
        method=_METHOD + " All eight kinds, one after the other.",
        used_by="[app] sandbox: once, when the app starts; nothing of it is in a frame.",
        requires=tuple(partial(allowed, kind) for kind in FLAGS),
        measure=measure_most,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="namespace-cost-mounts",
        section=7,
        statement="Mount: copies mount table (cow)",
        method="In a private mount namespace tmpfs is bound over and over; then unshare(CLONE_NEWNS) is timed. Holds (copied on "
        f"write): with {MOUNTS[-1]} mounts more it takes at most 3 times as long.",
        used_by=USES["mnt"],
        requires=(partial(allowed, "mnt"),),
        measure=measure_mounts,
        basis=Basis.COMPARED,
    ),
)
