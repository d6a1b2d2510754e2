"""PM QoS: the wake-up latency that idle CPUs may have. In force as long as the file is held open."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from minicomp.lab.knobs.operations import Forbidden, Operation, Owner, operation

DEVICE = "/dev/cpu_dma_latency"
_held: list[int] = []  # this process's open file, at most one


@operation("hold-cpu-latency")
@dataclass(frozen=True)
class HoldCpuLatency(Operation):
    """Idle states that take longer than `latency_us` to leave are not entered; -1 gives the wish up.

    Documentation/power/pm_qos_interface.rst: the smallest wish of all processes counts.
    """

    latency_us: int

    def permit(self, owner: Owner) -> None:
        if not -1 <= self.latency_us <= 1_000_000:
            raise Forbidden("hold-cpu-latency: -1 to 1000000 us")

    def undoing(self) -> HoldCpuLatency:
        return HoldCpuLatency(-1)

    def perform(self) -> None:
        while _held:
            os.close(_held.pop())
        if self.latency_us < 0:
            return
        fd = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.write(fd, struct.pack("=i", self.latency_us))
        except BaseException:
            os.close(fd)
            raise
        _held.append(fd)
