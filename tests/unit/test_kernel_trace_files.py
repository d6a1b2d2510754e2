"""The kernel trace's file and its decoders, on bytes made by hand."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minicomp.lab.kernel.attach import threads_of
from minicomp.lab.kernel.bpf import TextDecoder, program
from minicomp.lab.kernel.collector import finished
from minicomp.lab.kernel.events import RECORD, VERSION, ChunkKind, Event, pack_chunk, pack_json
from minicomp.lab.kernel.reader import KernelTrace, read_beside, read_kernel_trace
from minicomp.lab.kernel.ringbuffer import Decoder, Format
from minicomp.lab.kernel.tracefs import KernelTraceError

OURS, HOG = 100, 200
DEADLINE, FIFO, FAIR = -1, 49, 120
SWITCH_FORMAT = """name: sched_switch
ID: 372
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:int prev_prio;\toffset:28;\tsize:4;\tsigned:1;
\tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;
\tfield:char next_comm[16];\toffset:40;\tsize:16;\tsigned:0;
\tfield:pid_t next_pid;\toffset:56;\tsize:4;\tsigned:1;
\tfield:int next_prio;\toffset:60;\tsize:4;\tsigned:1;
"""


def test_events_and_chunks_are_those_of_the_format_document() -> None:
    text = (Path(__file__).parents[2] / "docs" / "trace-format.md").read_text().split("# The kernel's side")[1]
    found = {name: int(number) for name, number in re.findall(r"^\| ([A-Z_]+) \| (\d+) \|", text, re.MULTILINE)}
    assert found == {event.name: int(event) for event in Event}
    chunks = {name: int(number) for number, name in re.findall(r"^\| (\d+) ([A-Z]+) \|", text, re.MULTILINE)}
    assert chunks == {kind.name: int(kind) for kind in ChunkKind}


def switch_payload(left: int, come: int, state: int = 1) -> bytes:
    return struct.pack("<HBBi16siiq16sii", 372, 0, 0, left, b"left", left, FAIR, state, b"come", come, DEADLINE)


def event(delta: int, payload: bytes) -> bytes:
    assert len(payload) % 4 == 0
    return struct.pack("<I", delta << 5 | len(payload) // 4) + payload


def page(time_ns: int, *events: bytes, missed: bool = False) -> bytes:
    data = b"".join(events)
    return struct.pack("<QQ", time_ns, len(data) | missed << 31) + data


def decoded(data: bytes) -> list[tuple[int, ...]]:
    return [RECORD.unpack(record) for record in Decoder({"sched_switch": SWITCH_FORMAT}).pages(data, 3)]


def test_a_format_file_gives_offsets() -> None:
    form = Format.parse(SWITCH_FORMAT)
    assert form.id == 372
    assert form.fields["prev_state"] == (32, 8, True)
    assert form.text("next_comm")(switch_payload(1, 2), 0) == "come"
    with pytest.raises(ValueError, match="format"):
        Format.parse("no such thing")


def test_times_add_up_over_every_kind_of_event() -> None:
    payload = switch_payload(1, 2)
    extend = struct.pack("<II", 30 | 5 << 5, 1)  # 5 + 2^27
    stamp = struct.pack("<II", 31 | 7 << 5, 9)  # absolute: 7 + 9 * 2^27
    discarded = struct.pack("<II", 29 | 3 << 5, 8) + b"\0\0\0\0"
    long = struct.pack("<II", 4 << 5, len(payload) + 4) + payload
    rows = decoded(page(1000, event(10, payload), extend, event(1, payload), long, discarded, event(2, payload)))
    times = [row[0] for row in rows]
    late = 1010 + 5 + (1 << 27) + 1
    assert times == [1010, late, late + 4, late + 4 + 3 + 2]
    assert decoded(page(1000, stamp, event(1, payload)))[0][0] == 7 + 9 * (1 << 27) + 1


def test_a_switch_keeps_ids_priorities_and_whether_it_could_go_on() -> None:
    asleep, preempted, throttled = (
        decoded(page(0, event(1, switch_payload(1, 2, state))))[0] for state in (1, 0x100, 0)
    )
    assert asleep == (1, 1, 2, FAIR, DEADLINE, 3, Event.SWITCH, 1)
    assert preempted[7] == throttled[7] == 0


def test_padding_ends_a_page_and_the_next_one_goes_on() -> None:
    payload = switch_payload(1, 2)
    rows = decoded(page(5, event(1, payload), struct.pack("<I", 29)) + page(90, event(1, payload), missed=True))
    assert [row[0] for row in rows] == [6, 91]
    assert decoded(page(5, event(1, payload))[:-3]) == []  # cut off


def test_bpftrace_lines_may_have_any_thread_name() -> None:
    decoder = TextDecoder((1_000, 1_000))
    text = "B 1000\nS 2000 1 5 120 0 6 -1 a b|c|d\nW 2100 0 5 6 120 x y\nnoise\nS 1 2\nLost 7 events\nV 2200 0 3 9\n"
    rows = [RECORD.unpack(record) for record in decoder.lines(text)]
    assert [row[6] for row in rows] == [Event.SWITCH, Event.WAKING, Event.VBLANK]
    assert rows[0][:6] == (2000, 5, 6, 120, -1, 1)
    assert (decoder.names[6] == "c|d" and decoder.names[5] == "x y") or decoder.names[5] == "a b"
    assert decoder.lost == 7 and decoder.malformed == 1


def test_bpftrace_times_of_the_boot_clock_are_moved() -> None:
    decoder = TextDecoder((1_000, 501_000))
    (row,) = (RECORD.unpack(record) for record in decoder.lines("B 501010\nI 502000 0 9\n"))
    assert row[0] == 2_000


def test_the_program_names_our_threads() -> None:
    text = program([11, 12], everyone=False, has_vblank=True)
    assert "args->prev_pid == 11 || args->next_pid == 11" in text and "drm_vblank_event" in text
    assert "drm" not in program([11], everyone=True, has_vblank=False)


def kernel_file(path: Path, *records: bytes, lost: int = 0) -> KernelTrace:
    meta = {"version": VERSION, "method": "tracefs", "scope": "all", "pid": 1, "threads": {"mc-render": OURS}}
    end = {"events": len(records), "lost": lost, "cpu_s": 0, "elapsed_s": 1, "events_per_s": 1}
    path.write_bytes(b"".join(finished(meta, b"".join(records), {HOG: "yes {0}", OURS: "mc-render"}, end)))
    return read_kernel_trace(path)


def switch(t_ns: int, left: int, come: int, prio: int, of: int, state: int = 1, cpu: int = 0) -> bytes:
    return RECORD.pack(t_ns, left, come, prio, of, cpu, Event.SWITCH, state)


def test_a_wait_is_divided_among_those_who_ran(tmp_path: Path) -> None:
    trace = kernel_file(
        tmp_path / "run.mct.kernel",
        switch(0, 0, OURS, FAIR, FAIR),
        switch(1_000, OURS, 0, FAIR, FAIR),
        switch(1_500, 0, HOG, FAIR, FIFO),
        RECORD.pack(2_000, OURS, 0, FAIR, 0, 0, Event.WAKING, 0),
        switch(9_000, HOG, OURS, FIFO, FAIR, 0),
        switch(9_500, OURS, 0, FAIR, FAIR),
        switch(20_000, 0, HOG, FAIR, FIFO),
    )
    account = trace.account("mc-render", 0, 10_000)
    assert account is not None
    assert (account.ran_ns, account.waiting_ns, account.asleep_ns, account.throttled_ns) == (1_500, 7_000, 1_500, 0)
    assert [other.words.format(ran="7.0 us") for other in account.instead] == [
        "`yes (0)` (pid 200) ran 7.0 us of it on CPU 0, SCHED_FIFO or RR"
    ]
    assert trace.account("mc-render", 0, 30_000) is None  # past the end
    assert read_beside(tmp_path / "run.mct") is not None and read_beside(tmp_path / "other.mct") is None


@pytest.mark.parametrize(("prio", "throttled_ns"), [(DEADLINE, 5_000_000), (FAIR, 0)])
def test_a_deadline_thread_that_gives_way_to_a_lower_class_is_throttled(
    tmp_path: Path, prio: int, throttled_ns: int
) -> None:
    trace = kernel_file(
        tmp_path / "k",
        switch(0, 0, OURS, FAIR, prio),
        switch(1_000, OURS, HOG, prio, FAIR, 0),
        switch(5_001_000, HOG, OURS, FAIR, prio, 0),
        switch(5_002_000, OURS, HOG, prio, FAIR),
    )
    account = trace.account("mc-render", 0, 5_002_000)
    assert account is not None
    assert (account.throttled_ns, account.waiting_ns) == (throttled_ns, 5_000_000 - throttled_ns)


@pytest.mark.parametrize(
    ("wait_us", "other", "of", "throttled_us"),
    [(4_000, 0, FAIR, 4_000), (4_000, HOG, FAIR, 4_000), (4_000, HOG, DEADLINE, 0),
     (500, 0, FAIR, 0), (500, HOG, FAIR, 500), (500, HOG, DEADLINE, 0)],
)  # fmt: skip
def test_only_its_own_class_keeps_a_deadline_thread_waiting_and_an_idle_cpu_for_a_moment(
    tmp_path: Path, wait_us: int, other: int, of: int, throttled_us: int
) -> None:
    end_ns = 1_000 + wait_us * 1_000
    trace = kernel_file(
        tmp_path / "k",
        switch(0, 0, OURS, FAIR, DEADLINE),
        switch(1_000, OURS, other, DEADLINE, of, 0),
        switch(end_ns, other, OURS, of, DEADLINE, 0),
        switch(end_ns + 1_000, OURS, 0, DEADLINE, FAIR),
    )
    account = trace.account("mc-render", 0, end_ns)
    assert account is not None
    assert (account.throttled_ns, account.waiting_ns) == (throttled_us * 1_000, (wait_us - throttled_us) * 1_000)


def test_switches_from_idle_that_the_kernel_did_not_trace_are_inferred(tmp_path: Path) -> None:
    trace = kernel_file(
        tmp_path / "k",
        switch(0, OURS, 0, FAIR, FAIR),
        RECORD.pack(1_000, OURS, 0, FAIR, 0, 0, Event.WAKING, 0),
        switch(3_000, OURS, 0, FAIR, FAIR),
        RECORD.pack(5_000, OURS, 0, FAIR, 0, 0, Event.WAKING, 0),
        switch(9_000, HOG, OURS, FIFO, FAIR),
        switch(9_500, OURS, 0, FAIR, FAIR),
    )
    first = trace.account("mc-render", 0, 3_000)
    assert first is not None and (first.asleep_ns, first.ran_ns, first.waiting_ns) == (1_000, 2_000, 0)
    second = trace.account("mc-render", 5_000, 9_000)
    assert second is not None and second.waiting_ns == 4_000
    assert [(other.pid, other.ran_ns) for other in second.instead] == [(HOG, 4_000)]


def test_lost_events_make_it_mute(tmp_path: Path) -> None:
    records = (switch(0, 0, OURS, FAIR, FAIR), switch(1_000, OURS, 0, FAIR, FAIR))
    assert kernel_file(tmp_path / "k", *records).account("mc-render", 0, 500) is not None
    assert kernel_file(tmp_path / "k", *records, lost=1).account("mc-render", 0, 500) is None


def test_what_a_killed_collector_leaves_is_read(tmp_path: Path) -> None:
    path = tmp_path / "k"
    meta = {"version": VERSION, "threads": {"mc-render": 2}, "formats": {"sched_switch": SWITCH_FORMAT}}
    whole = pack_chunk(ChunkKind.RAW, page(10, event(1, switch_payload(1, 2))), 3)
    path.write_bytes(pack_json(ChunkKind.META, meta) + whole + whole[:-5])
    trace = read_kernel_trace(path)
    assert trace.end is None and len(trace.records) == 1 and trace.names[2] == "come"


@pytest.mark.parametrize(
    "content",
    [b"", b"not a trace at all", pack_json(ChunkKind.END, {}), pack_json(ChunkKind.META, {"version": 99, "threads": {}}),
     pack_chunk(ChunkKind.META, b"{"), pack_json(ChunkKind.META, [1])],
)  # fmt: skip
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "k"
    path.write_bytes(content)
    with pytest.raises(KernelTraceError) as refused:
        read_kernel_trace(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
    assert json.dumps(str(refused.value))


NAMES_ITSELF = """
import ctypes, sys, threading, time
def thread(name):
    time.sleep(0.3)
    ctypes.CDLL(None).prctl(15, name.encode(), 0, 0, 0)  # PR_SET_NAME
    time.sleep(60)
for name in sys.argv[1:]:
    threading.Thread(target=thread, args=(name,), daemon=True).start()
print("started", flush=True)
time.sleep(60)
"""


@contextmanager
def naming_itself(*names: str) -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", NAMES_ITSELF, *names], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "started\n"
            yield process.pid
        finally:
            process.kill()


def test_threads_that_have_not_run_yet_are_waited_for() -> None:
    """They exist, and have their process's name: a busy machine had runs fail, or lack the render thread."""
    with naming_itself("mc-loop", "mc-render", "mc-trace") as pid:
        found = threads_of(pid)
        assert set(found) == {"mc-loop", "mc-render"} and len({pid, *found.values()}) == 3
    with naming_itself("mc-loop", "mc-trace") as pid:
        assert set(threads_of(pid)) == {"mc-loop"}, "without a render thread"


def test_another_program_is_refused_at_once() -> None:
    with naming_itself() as pid, pytest.raises(KernelTraceError, match="is no running minicomp"):
        threads_of(pid)
