"""What a network namespace costs the traffic in it: on loopback, and through a veth pair to another one."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
from functools import partial

from minicomp.lab.probes.calls import check
from minicomp.lab.probes.namespaces.spaces import allowed, enter_network, unshare
from minicomp.lab.probes.probe import Basis, Budget, Number, Probe, Result, holds, near
from minicomp.lab.probes.requirements import program
from minicomp.native.probes import ffi, lib

Socket = tuple[int, int, int]
"""fd, address and port (both in network byte order)."""
LOOPBACK, HERE, THERE = "127.0.0.1", "10.213.0.1", "10.213.0.2"


def bound(address: str) -> Socket:
    """In the namespace that the process is in now; the socket stays in it."""
    (number,) = struct.unpack("=I", socket.inet_aton(address))
    port = ffi.new("uint16_t *")
    return check("a UDP socket", lib.mc_probe_udp(number, port)), number, port[0]


def trips(name: str, pairs: dict[str, tuple[Socket, Socket]], budget: Budget) -> dict[str, Number]:
    """Round trips of each pair, in turns: what else happens on the machine happens to all of them."""
    turns, rounds = budget.pick(20, 100), 200
    times: dict[str, list[float]] = {pair: [] for pair in pairs}
    for _ in range(turns):
        for pair, (first, second) in pairs.items():
            samples = ffi.new("uint64_t[]", rounds)
            check(pair, lib.mc_probe_udp_trips(*first, *second, rounds, samples))
            times[pair] += [ns / 1000 for ns in samples]
    return {pair: Number.of(f"{name}, {pair}", "us", samples) for pair, samples in times.items()}


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def measure_loopback(budget: Budget) -> Result:
    outside = bound(LOOPBACK), bound(LOOPBACK)
    unshare("net")
    _ip("link", "set", "lo", "up")
    numbers = trips(
        "UDP round trip", {"outside": outside, "in a namespace": (bound(LOOPBACK), bound(LOOPBACK))}, budget
    )
    out, inside = numbers["outside"], numbers["in a namespace"]
    more = inside.value / out.value - 1
    seen = f"on loopback {out.value:.2f} us outside, {inside.value:.2f} us in a namespace of its own: {more:+.1%}"
    doubt = near("the share", more, 0.01, 0.05, within=0.005)
    return holds(seen, *numbers.values(), when=0.01 <= more <= 0.05, doubt=doubt)


def measure_veth(budget: Budget) -> Result:
    unshare("net")  # both ends in namespaces of ours: nothing is left on the machine
    _ip("link", "set", "lo", "up")
    pid = _neighbour()
    _ip("link", "add", "probe0", "type", "veth", "peer", "name", "probe1", "netns", str(pid))
    _ip("addr", "add", f"{HERE}/24", "dev", "probe0")
    _ip("link", "set", "probe0", "up")
    loop, here = (bound(LOOPBACK), bound(LOOPBACK)), bound(HERE)
    enter_network(pid)
    _ip("addr", "add", f"{THERE}/24", "dev", "probe1")
    _ip("link", "set", "probe1", "up")
    numbers = trips("UDP round trip", {"loopback": loop, "veth": (here, bound(THERE))}, budget)
    more = numbers["veth"].value / numbers["loopback"].value - 1
    seen = f"through a veth pair to another namespace {numbers['veth'].value:.2f} us, on loopback {numbers['loopback'].value:.2f} us: {more:+.0%}"
    return holds(seen, *numbers.values(), when=more > 0.01, doubt=near("the share", more, 0.01, within=0.02))


def _neighbour() -> int:
    """A process in a network namespace of its own, which dies with the probe's group."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        unshare("net")
        os.write(writing, b"x")
        while True:
            signal.pause()
    os.read(reading, 1)
    return pid


_METHOD = "One thread sends 64 bytes by UDP to a second socket of its own and back: the price of the path, without anybody's waking up."

PROBES = (
    Probe(
        name="namespace-net-loopback",
        section=7,
        statement="Network: 1-5% for network I/O",
        method=_METHOD
        + " On loopback outside and in a new namespace, in turns. Holds: the median is 1 to 5 % higher inside.",
        used_by="[app] sandbox_network = true shares the host's network, so it costs nothing.",
        requires=(program("ip", "iproute2"), partial(allowed, "net")),
        measure=measure_loopback,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="namespace-net-veth",
        section=7,
        statement="This is why container networking adds measurable overhead.",
        method=_METHOD + " Between two namespaces through a veth pair, and on loopback, in turns.",
        used_by="Not used: Wayland's sockets are files, and no network namespace is in their way.",
        requires=(program("ip", "iproute2"), partial(allowed, "net")),
        measure=measure_veth,
        basis=Basis.COMPARED,
    ),
)
