"""Draws the kernel's side of a trace: for each of our threads a track of when it ran, and when it waited for a CPU.

A slice that waited says who ran instead. Asleep is drawn as nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicomp.lab.report.perfetto_writer import PerfettoWriter

if TYPE_CHECKING:
    from minicomp.lab.kernel.reader import KernelTrace, Slice

RANK = 1 << 8
"""Below the outputs' tracks, above the surfaces'."""
NAMED_FROM_NS = 50_000
"""A wait this long is worth looking up who ran instead."""


def add_kernel_tracks(writer: PerfettoWriter, process: int, kernel: KernelTrace) -> None:
    """One track for each thread that the kernel trace follows, under the process."""
    for number, thread in enumerate(kernel.threads):
        track = writer.track(f"{thread} on CPUs", process, rank=RANK + number)
        for piece in kernel.slices(thread):
            if piece.end_ns <= piece.begin_ns:
                continue
            if piece.runs:
                name, args = f"runs on CPU {piece.cpu}", _running_args(kernel, piece)
            elif piece.waits:
                name, args = f"waits for CPU {piece.cpu}", _waiting_args(kernel, thread, piece)
            else:
                continue
            writer.begin(piece.begin_ns, track, name, args)
            writer.end(piece.end_ns, track)


def _running_args(kernel: KernelTrace, piece: Slice) -> dict[str, int | float | str]:
    return {"priority": piece.prio, "next": f"{kernel.names.get(piece.after, '?')} ({piece.after})"}


def _waiting_args(kernel: KernelTrace, thread: str, piece: Slice) -> dict[str, int | float | str]:
    args: dict[str, int | float | str] = {"priority": piece.prio}
    if piece.end_ns - piece.begin_ns >= NAMED_FROM_NS:
        account = kernel.account(thread, piece.begin_ns, piece.end_ns)
        if account is not None:
            ran = [other.words.format(ran=f"{other.ran_ns / 1e6:.3f} ms") for other in account.instead]
            args |= {"ran instead": ", ".join(ran)} if ran else {}
            args |= {"throttled_us": account.throttled_ns / 1e3} if account.throttled_ns else {}
            args |= {"CPU idle_us": account.idle_ns / 1e3} if account.idle_ns else {}
    return args
