"""The Perfetto export, read by Perfetto's own trace processor."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent
from scenarios import MS, SCENARIOS, START_NS
from trace_processor import TraceProcessor

from minicomp.lab.pipeline.join import join
from minicomp.lab.pipeline.runfile import read_run
from minicomp.lab.report.perfetto_export import export_perfetto
from minicomp.lab.report.perfetto_writer import PerfettoWriter

# The trace processor counts what it could not use; the names left out only say how it went about its work.
COMPLAINTS = """
    select name, severity, value from stats
    where value > 0 and name not glob '*_duration_ns' and name <> 'clock_sync_cache_miss'
"""
FLOWS = """
    select source.name as begins, target.name as ends, count(*) as n
    from flow join slice source on flow.slice_out = source.id join slice target on flow.slice_in = target.id
    group by 1, 2 order by 1, 2
"""
TRACKS = """
    select track.name as track, parent.name as parent, count(*) as slices
    from slice join track on slice.track_id = track.id left join track parent on track.parent_id = parent.id
    where track.name is not null group by track.id order by track.name
"""


class Exports:
    """Each scenario exported and loaded once; `folder` has NAME (the run file) and NAME.pftrace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._loaded: dict[str, TraceProcessor] = {}

    def __call__(self, name: str) -> TraceProcessor:
        if name not in self._loaded:
            out = self.folder / f"{name}.pftrace"
            export_perfetto(read_run(SCENARIOS[name](self.folder / name)), out)
            self._loaded[name] = TraceProcessor(out)
        return self._loaded[name]

    def close(self) -> None:
        for processor in self._loaded.values():
            processor.close()


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exports]:
    exports = Exports(tmp_path_factory.mktemp("perfetto"))
    yield exports
    exports.close()


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_trace_processor_has_no_complaint_and_all_slices(opened: Exports, name: str) -> None:
    trace = opened(name)
    assert trace.query(COMPLAINTS) == []
    written = Trace.FromString((opened.folder / f"{name}.pftrace").read_bytes())
    kinds = [packet.track_event.type for packet in written.packet if packet.HasField("track_event")]
    begins, ends = kinds.count(TrackEvent.Type.TYPE_SLICE_BEGIN), kinds.count(TrackEvent.Type.TYPE_SLICE_END)
    instants = kinds.count(TrackEvent.Type.TYPE_INSTANT)
    assert begins == ends > 0
    assert trace.query("select count(*) as n from slice") == [{"n": begins + instants}]
    assert trace.query("select count(*) as n from slice where dur < 0") == [{"n": 0}]


@pytest.mark.parametrize("name", ["misses", "two_outputs", "step_clock"])
def test_slices_have_the_frames_times(opened: Exports, name: str) -> None:
    trace = opened(name)
    frames = join(read_run(opened.folder / name)).frames
    on_outputs = "from slice join track on slice.track_id = track.id where track.name glob 'output *'"
    rows = trace.query(f"select ts, dur {on_outputs} and slice.name = 'compose' order by ts, dur")
    wanted = zip(
        frames.compose_begin_ns.tolist(), (frames.compose_end_ns - frames.compose_begin_ns).tolist(), strict=True
    )
    assert [(row["ts"], row["dur"]) for row in rows] == sorted(wanted)


def test_the_trace_processor_does_complain_of_a_bad_trace(tmp_path: Path) -> None:
    writer = PerfettoWriter(monotonic_ns=1, unix_ns=1)
    track = writer.track("not a counter", writer.process(1, "x"))
    writer.sample(5, track, 1.0)
    with (tmp_path / "bad").open("wb") as file:
        writer.write(file)
    with TraceProcessor(tmp_path / "bad") as trace:
        assert [row["name"] for row in trace.query(COMPLAINTS)] == ["track_event_tokenizer_errors"]


def test_each_thread_has_its_track(opened: Exports) -> None:
    trace = opened("misses")
    threads = "select thread.name as thread, process.name as process from thread join process using (upid)"
    rows = trace.query(f"{threads} where process.pid = 4242 order by 1")
    assert [(row["thread"], row["process"]) for row in rows] == [
        ("loop", "minicomp"),
        ("policy", "minicomp"),
        ("render", "minicomp"),
    ]
    work = """select thread.name as thread, slice.name as name, count(*) as n from slice
              join thread_track on slice.track_id = thread_track.id join thread using (utid)
              where slice.dur > 0 group by 1, 2 order by 1, 2"""
    assert [(row["thread"], row["name"], row["n"]) for row in trace.query(work)] == [
        ("loop", "dispatch", 200),
        ("loop", "surface commit", 200),
        ("render", "KMS commit", 201),
        ("render", "compose", 201),
        ("render", "lock wait", 201),
    ]


def test_outputs_and_surfaces_have_tracks_under_the_process(opened: Exports) -> None:
    rows = opened("two_outputs").query(TRACKS)
    assert [(row["track"], row["parent"]) for row in rows if row["parent"] is None] == [
        ("output DP-1", None),
        ("output HDMI-A-1", None),
        ("surface 7: left", None),
        ("surface 8: right", None),
        ("surface 9: shared", None),
    ]
    assert {(row["track"], row["parent"]) for row in rows if row["parent"]} == {
        ("DP-1 frames", "output DP-1"),
        ("HDMI-A-1 frames", "output HDMI-A-1"),
        ("surface 7 commit to flip", "surface 7: left"),
        ("surface 8 commit to flip", "surface 8: right"),
        ("surface 9 commit to flip", "surface 9: shared"),
    }


def test_arrows_lead_from_each_commit_over_composing_to_its_flip(opened: Exports) -> None:
    rows = opened("misses").query(FLOWS)
    # 200 commits were latched; one was discarded and never shown, one went to the retry of its refused frame.
    assert [(row["begins"], row["ends"], row["n"]) for row in rows] == [
        ("commit", "compose", 200),
        ("compose", "flip", 199),
    ]


def test_a_surface_on_two_outputs_has_an_arrow_to_each(opened: Exports) -> None:
    rows = opened("two_outputs").query(FLOWS)
    # 60 of surface 7, 75 of surface 8, and 60 of surface 9 on each of the two outputs.
    assert [(row["begins"], row["ends"], row["n"]) for row in rows] == [
        ("commit", "compose", 255),
        ("compose", "flip", 255),
    ]


def test_times_are_the_monotonic_clocks(opened: Exports) -> None:
    trace = opened("asap_60hz")
    flips = trace.query("select ts from slice where name = 'flip' order by ts limit 2")
    assert [row["ts"] for row in flips] == [START_NS + 16_666_667, START_NS + 2 * 16_666_667]
    frames = trace.query("select ts, dur from slice where name = 'frame 1'")
    assert len(frames) == 1
    assert frames[0]["ts"] + frames[0]["dur"] == START_NS + 16_666_667


def test_a_missed_frame_carries_its_verdict(opened: Exports) -> None:
    verdict = "extract_arg(arg_set_id, 'debug.verdict')"
    rows = opened("misses").query(
        f"select {verdict} as verdict, count(*) as n from slice where name glob 'frame [0-9]*' group by 1 order by 1"
    )
    assert [(row["verdict"], row["n"]) for row in rows] == [
        ("discarded", 1),
        ("missed", 3),
        ("on time", 195),
        ("refused", 1),
        ("unjudged", 1),
    ]


def test_latency_is_a_counter(opened: Exports) -> None:
    rows = opened("misses").query(
        """select count(*) as n, min(value) as low, max(value) as high from counter
           join counter_track on counter.track_id = counter_track.id where name = 'surface 7 commit to flip'"""
    )
    assert (rows[0]["n"], rows[0]["low"], round(rows[0]["high"], 3)) == (199, 7.0, 23.667)


def test_a_stepped_flip_is_drawn_when_it_was_reported(opened: Exports) -> None:
    trace = opened("step_clock")
    rows = trace.query("select ts, extract_arg(arg_set_id, 'debug.vblank_ns') as vblank from slice where name = 'flip'")
    assert rows[0]["vblank"] == START_NS + 16_666_667
    assert rows[0]["ts"] > START_NS + 5_000 * MS
