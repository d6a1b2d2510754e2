"""What one trace point costs: records written back to back into a ring that the writer thread drains.

A frame writes its records into cold cache lines; here they are half warm (2 MiB of ring, used in turn). What a run pays
in all is the difference between minicomp with and without --trace.
"""

from __future__ import annotations

import os
import tempfile
import time

RING_RECORDS = 65536  # minicomp's default
BATCH = 4096
DRAIN_S = 0.012  # several batches fit into the ring until the writer comes (when it is half full)


def ns_per_point(batches: int) -> list[float]:
    """One value per batch. Raises RuntimeError when records were dropped: dropping is cheaper than writing."""
    from minicomp.native.pure import ffi, lib

    trace = ffi.new("struct mc_trace *")
    lib.mc_trace_init(trace)
    with tempfile.TemporaryFile() as file:
        result = lib.mc_trace_start(trace, file.fileno(), RING_RECORDS)
        if result != 0:
            raise RuntimeError(f"the trace could not be started: {os.strerror(-result)}")
        try:
            for _ in range(RING_RECORDS // BATCH):  # touch every page of the ring once
                lib.mc_pure_trace_many(trace, BATCH)
                time.sleep(DRAIN_S)
            measured = []
            for _ in range(batches):
                measured.append(lib.mc_pure_trace_many(trace, BATCH) / BATCH)
                time.sleep(DRAIN_S)
            dropped = lib.mc_trace_dropped(trace)
        finally:
            lib.mc_trace_stop(trace)
    if dropped:
        raise RuntimeError(f"{dropped} records were dropped")
    return measured
