"""The process beside the compositor that records the kernel's side of a trace. Needs CAP_SYS_ADMIN.

    python -m minicomp.lab.kernel.collector '{"out": FILE, "method": "tracefs", "scope": "all"}'

It says "prepared" on standard output when it may trace, reads one line with the process's id and its threads, says
"ready" when events are being recorded, or "error: WHAT" and ends. It records until its standard input is closed (so
also when the compositor is killed), then writes the file and says what it cost. While it records it only copies pages;
they are decoded afterwards. A file that a killed collector leaves can be read as well.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import IO, Any

from minicomp.errors import MinicompError
from minicomp.lab.kernel import events
from minicomp.lab.kernel.bpf import Bpftrace, TextDecoder
from minicomp.lab.kernel.events import ChunkKind
from minicomp.lab.kernel.ringbuffer import Decoder
from minicomp.lab.kernel.tracefs import Instance, mount_privately

DRAIN_S = 0.25
COPY_BYTES = 1 << 20


def main(argv: list[str]) -> int:
    request = json.loads(argv[0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is the compositor's; its end is ours
    signal.signal(signal.SIGTERM, lambda *_: os.close(0))
    try:
        mount_privately()
        print("prepared", flush=True)
        line = sys.stdin.readline()
        if not line:
            return 0  # the run has not got so far
        request |= json.loads(line)
        with open(request["out"], "w+b") as file:
            report = (_by_tracefs if request["method"] == "tracefs" else _by_bpftrace)(request, file)
    except (MinicompError, OSError) as error:
        print(f"error: {error}", flush=True)
        return 1
    print(json.dumps(report), flush=True)
    return 0


def _by_tracefs(request: dict[str, Any], file: IO[bytes]) -> dict[str, Any]:
    instance = Instance.open(request["threads"].values(), everyone=request["scope"] == "all")
    begun = time.monotonic()
    try:
        file.write(_meta(request, formats=instance.formats))
        _say_ready()
        used_s = time.process_time()
        while not _asked_to_end(DRAIN_S):
            _drain(instance, file)
        instance.stop()
        _drain(instance, file)
        lost = instance.lost()
    finally:
        instance.close()
    cost = _cost(time.process_time() - used_s, time.monotonic() - begun)
    return _rewrite(file, request, lost, cost)


def _drain(instance: Instance, file: IO[bytes]) -> None:
    for cpu, pages in instance.read():
        file.write(events.pack_chunk(ChunkKind.RAW, pages, cpu))
    file.flush()


def _by_bpftrace(request: dict[str, Any], file: IO[bytes]) -> dict[str, Any]:
    folder = os.path.dirname(os.path.abspath(request["out"]))
    with tempfile.TemporaryFile(dir=folder) as lines:
        tracer = Bpftrace(request["threads"].values(), lines, everyone=request["scope"] == "all")
        clocks = time.clock_gettime_ns(time.CLOCK_MONOTONIC), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        file.write(_meta(request, clocks_ns=clocks))
        file.flush()
        begun, used_s = time.monotonic(), time.process_time()
        try:
            _say_ready()
            while not _asked_to_end(DRAIN_S):
                if tracer.process.poll() is not None:
                    break
        finally:
            children_s = tracer.stop()
        cost = _cost(time.process_time() - used_s + children_s, time.monotonic() - begun)
        lines.seek(0)
        while text := lines.read(COPY_BYTES):
            file.write(events.pack_chunk(ChunkKind.TEXT, text + lines.readline()))
    return _rewrite(file, request, 0, cost)


def decode(chunks: Iterable[tuple[int, int, bytes]], meta: dict[str, Any]) -> tuple[bytes, dict[int, str], int]:
    """Records in time order and thread names from RAW or TEXT chunks; how many events bpftrace said it lost."""
    import numpy as np  # not while recording

    pages = Decoder(meta.get("formats", {}))
    text = TextDecoder(tuple(meta.get("clocks_ns", (0, 0))))
    packed = bytearray()
    for kind, cpu, payload in chunks:
        records: Iterable[bytes] = ()
        if kind == ChunkKind.RAW:
            records = pages.pages(payload, cpu)
        elif kind == ChunkKind.TEXT:
            records = text.lines(payload.decode("utf-8", "replace"))
        for record in records:
            packed += record
    rows = np.frombuffer(packed, np.dtype([("t_ns", "<u8"), ("rest", f"V{events.RECORD.size - 8}")]))
    rows = rows[np.argsort(rows["t_ns"], kind="stable")]
    return rows.tobytes(), {**pages.names, **text.names}, text.lost


def _rewrite(file: IO[bytes], request: dict[str, Any], lost: int, cost: dict[str, float]) -> dict[str, Any]:
    """Puts RECORDS in the place of what was copied; what END says."""
    file.flush()
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = events.chunks(data)
        meta = json.loads(next(found)[2])
        records, names, more_lost = decode(found, meta)
    count = len(records) // events.RECORD.size
    end = {"events": count, "lost": lost + more_lost, **cost}
    end["events_per_s"] = round(count / max(cost["elapsed_s"], 1e-9), 1)
    new = f"{request['out']}.new"
    with open(new, "wb") as out:
        for chunk in finished(meta, records, names, end):
            out.write(chunk)
    os.replace(new, request["out"])
    return end


def finished(meta: dict[str, Any], records: bytes, names: dict[int, str], end: Any) -> Iterator[bytes]:
    """The chunks of a file that was closed properly; `records` in time order."""
    yield events.pack_json(ChunkKind.META, {key: value for key, value in meta.items() if key != "formats"})
    yield events.pack_json(ChunkKind.NAMES, {str(pid): name for pid, name in sorted(names.items())})
    yield events.pack_chunk(ChunkKind.RECORDS, records)
    yield events.pack_json(ChunkKind.END, end)


def _meta(request: dict[str, Any], **more: Any) -> bytes:
    facts = {key: request[key] for key in ("method", "scope", "pid", "threads")}
    facts |= {"version": events.VERSION, "start_ns": time.monotonic_ns(), "kernel": os.uname().release}
    return events.pack_json(ChunkKind.META, {**facts, **more})


def _cost(cpu_s: float, elapsed_s: float) -> dict[str, float]:
    return {"cpu_s": round(cpu_s, 4), "elapsed_s": round(elapsed_s, 3)}


def _say_ready() -> None:
    print("ready", flush=True)


def _asked_to_end(wait_s: float) -> bool:
    """Whether standard input was closed; waits so long for it."""
    try:
        ready, _, _ = select.select([0], [], [], wait_s)
        return bool(ready) and not os.read(0, 4096)
    except (OSError, ValueError):  # closed by SIGTERM
        return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
