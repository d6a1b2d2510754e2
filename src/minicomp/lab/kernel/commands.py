"""`minicomp lab kernel-trace`: records the kernel's side of a compositor that runs already, as root."""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
from contextlib import suppress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Fills the parser; what it parses has run=`run`."""
    parser.description = (
        "Record who ran on the CPUs while a compositor runs that may not do so itself. Put the file beside the run\n"
        "file, called RUNFILE.kernel: `minicomp trace summary RUNFILE` and `trace misses RUNFILE` then use it."
    )
    parser.add_argument("--pid", type=int, required=True, metavar="PID", help="the compositor's process")
    parser.add_argument("--out", required=True, metavar="FILE")
    parser.add_argument("--method", choices=("tracefs", "bpftrace"), default="tracefs")
    scope = "own: only the switches of the compositor's threads, which is less to record"
    parser.add_argument("--scope", choices=("all", "own"), default="all", help=scope)
    parser.add_argument("--duration-s", type=float, metavar="S", help="default: until the compositor ends, or Ctrl+C")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Raises KernelTraceError."""
    from minicomp.lab.kernel.attach import Collector, describe, threads_of

    pidfd = _open(args.pid)
    threads = threads_of(args.pid)
    collector = Collector(args.out, args.method, args.scope)
    collector.record(args.pid, threads)
    print("recording", file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        select.select([pidfd], [], [], args.duration_s)
    os.close(pidfd)
    print(f"{args.out}: {describe(collector.stop())}")
    return 0


def _open(pid: int) -> int:
    from minicomp.lab.kernel.tracefs import KernelTraceError

    try:
        return os.pidfd_open(pid)
    except OSError as error:
        raise KernelTraceError(error.strerror or str(error), where=f"process {pid}") from error
