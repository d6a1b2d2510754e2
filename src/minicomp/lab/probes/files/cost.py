"""What a frame costs to hand over: its fd, or its bytes."""

from __future__ import annotations

from minicomp.lab.probes.calls import check
from minicomp.lab.probes.probe import Basis, Budget, Curve, Number, Probe, Result, holds, near
from minicomp.native.probes import ffi, lib

WAYS = {
    "its fd": lib.MC_PROBE_PASS_FD,
    "one memcpy": lib.MC_PROBE_PASS_MEMCPY,
    "through the socket": lib.MC_PROBE_PASS_SOCKET,
}
FRAMES = {"64x64": 64 * 64, "720p": 1280 * 720, "1080p": 1920 * 1080, "4K": 3840 * 2160}
PIXEL_BYTES = 4


def measure(budget: Budget) -> Result:
    times: dict[tuple[str, str], Number] = {}
    for frame, pixels in FRAMES.items():
        for way, kind in WAYS.items():
            rounds = 200 if kind == lib.MC_PROBE_PASS_FD or pixels < 10_000 else budget.pick(8, 60)
            samples = ffi.new("uint64_t[]", rounds)
            check(way, lib.mc_probe_pass(kind, pixels * PIXEL_BYTES, rounds, samples))
            times[way, frame] = Number.of(f"{frame}, {way}", "us", [ns / 1000 for ns in samples])
    growth = times["its fd", "4K"].value / times["its fd", "64x64"].value
    less = times["one memcpy", "4K"].value / times["its fd", "4K"].value
    seen = "; ".join(
        f"{frame}: " + ", ".join(f"{way} {times[way, frame].value:,.1f} us" for way in WAYS)
        for frame in ("1080p", "4K")
    )
    curve = Curve(
        "Handing a frame over",
        "bytes",
        "median (us)",
        {way: [(float(FRAMES[f] * PIXEL_BYTES), times[way, f].value) for f in FRAMES] for way in WAYS},
        log_x=True,
        log_y=True,
    )
    # Independent of the size: over a factor of 2025 in bytes.
    doubt = near("the fd's growth", growth, 5) or near("the copy's ratio", less, 10)
    return holds(seen, *times.values(), curves=[curve], when=growth < 5 and less > 10, doubt=doubt)


PROBES = (
    Probe(
        name="scm-cost",
        section=3,
        statement="This is why fd-passing is efficient: no data is copied. Zero copies, zero serialization.",
        method="Both ends in one thread: a memfd's fd by sendmsg, recvmsg and close; the same frame by one memcpy (pages there); and in "
        "chunks of 128 KiB through the socket. Holds: from 64x64 to 4K the fd takes less than 5 times as long, and a 4K frame's copy "
        "more than 10 times as long as its fd.",
        used_by="Clients' buffers come as fds, once per buffer and not per frame; wl_shm is copied once, into the renderer's texture.",
        measure=measure,
        basis=Basis.COMPARED,
    ),
)
