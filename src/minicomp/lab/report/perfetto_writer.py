"""Writes a Perfetto trace: tracks, slices, instants, counters and flows, as TrackEvent packets of one sequence.

Knows Perfetto's format and nothing of minicomp. Timestamps are CLOCK_MONOTONIC ns (Perfetto's built-in clock 3), tied
to wall-clock time by one clock snapshot. Slices of one track must nest; `Lanes` spreads slices that overlap over
several tracks. Sources: perfetto/trace/track_event/track_event.proto and track_descriptor.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import (
    BUILTIN_CLOCK_MONOTONIC,
    BUILTIN_CLOCK_REALTIME,
    CounterDescriptor,
    Trace,
    TracePacket,
    TrackDescriptor,
    TrackEvent,
)

SEQUENCE_ID = 1
Args = Mapping[str, int | float | str]


class _Event(NamedTuple):
    t_ns: int
    kind: int
    track: int
    name: str = ""
    args: Args | None = None
    flows: Sequence[int] = ()
    ends_flows: Sequence[int] = ()
    value: float = 0.0


class PerfettoWriter:
    """Collects a trace in memory; `write` sorts it by time and writes it out.

    The events of one track must be added in the order in which they happened.
    """

    def __init__(self, *, monotonic_ns: int, unix_ns: int) -> None:
        self._snapshot_ns = (monotonic_ns, unix_ns)
        self._descriptors: list[Any] = []
        self._events: list[_Event] = []
        self._interned: dict[tuple[str, str], int] = {}

    def process(self, pid: int, name: str) -> int:
        descriptor = self._descriptor()
        descriptor.process.pid = pid
        descriptor.process.process_name = name
        return int(descriptor.uuid)

    def thread(self, process: int, pid: int, tid: int, name: str) -> int:
        descriptor = self._descriptor(parent=process)
        descriptor.thread.pid = pid
        descriptor.thread.tid = tid
        descriptor.thread.thread_name = name
        return int(descriptor.uuid)

    def track(self, name: str, parent: int, *, rank: int = 0) -> int:
        """A track for slices and instants; tracks of one parent are shown by rank."""
        descriptor = self._descriptor(parent, name)
        descriptor.sibling_order_rank = rank
        descriptor.child_ordering = TrackDescriptor.ChildTracksOrdering.EXPLICIT
        return int(descriptor.uuid)

    def counter(self, name: str, unit: str, parent: int, *, rank: int = 0) -> int:
        descriptor = self._descriptor(parent, name)
        descriptor.sibling_order_rank = rank
        descriptor.counter.unit = CounterDescriptor.Unit.UNIT_UNSPECIFIED
        descriptor.counter.unit_name = unit
        return int(descriptor.uuid)

    def begin(self, t_ns: int, track: int, name: str, args: Args | None = None, flows: Sequence[int] = ()) -> None:
        self._events.append(_Event(t_ns, TrackEvent.Type.TYPE_SLICE_BEGIN, track, name, args, flows))

    def end(self, t_ns: int, track: int) -> None:
        self._events.append(_Event(t_ns, TrackEvent.Type.TYPE_SLICE_END, track))

    def instant(
        self,
        t_ns: int,
        track: int,
        name: str,
        args: Args | None = None,
        *,
        flows: Sequence[int] = (),
        ends_flows: Sequence[int] = (),
    ) -> None:
        self._events.append(_Event(t_ns, TrackEvent.Type.TYPE_INSTANT, track, name, args, flows, ends_flows))

    def sample(self, t_ns: int, track: int, value: float) -> None:
        """A counter's value from this time on."""
        self._events.append(_Event(t_ns, TrackEvent.Type.TYPE_COUNTER, track, value=value))

    def write(self, file: BinaryIO) -> int:
        """Writes everything; returns the number of events. A trace file is a series of Trace messages."""
        for packet in [self._first_packet(), *map(self._descriptor_packet, self._descriptors)]:
            file.write(Trace(packet=[packet]).SerializeToString())
        # Stable: events of one track at the same time stay in the order in which they were added.
        for event in sorted(self._events, key=lambda event: event.t_ns):
            file.write(Trace(packet=[self._event_packet(event)]).SerializeToString())
        return len(self._events)

    def _descriptor(self, parent: int | None = None, name: str = "") -> Any:
        descriptor = TrackDescriptor(uuid=len(self._descriptors) + 1)
        if parent is not None:
            descriptor.parent_uuid = parent
        if name:
            descriptor.name = name
        self._descriptors.append(descriptor)
        return descriptor

    def _first_packet(self) -> Any:
        monotonic_ns, unix_ns = self._snapshot_ns
        packet = TracePacket(
            trusted_packet_sequence_id=SEQUENCE_ID,
            sequence_flags=TracePacket.SequenceFlags.SEQ_INCREMENTAL_STATE_CLEARED,
        )
        packet.trace_packet_defaults.timestamp_clock_id = BUILTIN_CLOCK_MONOTONIC
        packet.clock_snapshot.primary_trace_clock = BUILTIN_CLOCK_MONOTONIC
        packet.clock_snapshot.clocks.add(clock_id=BUILTIN_CLOCK_MONOTONIC, timestamp=monotonic_ns)
        if unix_ns:
            packet.clock_snapshot.clocks.add(clock_id=BUILTIN_CLOCK_REALTIME, timestamp=unix_ns)
        return packet

    def _descriptor_packet(self, descriptor: Any) -> Any:
        return TracePacket(trusted_packet_sequence_id=SEQUENCE_ID, track_descriptor=descriptor)

    def _event_packet(self, event: _Event) -> Any:
        packet = TracePacket(
            timestamp=event.t_ns,
            trusted_packet_sequence_id=SEQUENCE_ID,
            sequence_flags=TracePacket.SequenceFlags.SEQ_NEEDS_INCREMENTAL_STATE,
        )
        out = packet.track_event
        out.type = event.kind
        out.track_uuid = event.track
        if event.name:
            out.name_iid = self._intern(packet.interned_data, "event_names", event.name)
        for name, value in (event.args or {}).items():
            annotation = out.debug_annotations.add()
            annotation.name_iid = self._intern(packet.interned_data, "debug_annotation_names", name)
            if isinstance(value, str):
                annotation.string_value = value
            elif isinstance(value, float):
                annotation.double_value = value
            elif value < 0:
                annotation.int_value = value
            else:
                annotation.uint_value = value
        out.flow_ids.extend(event.flows)
        out.terminating_flow_ids.extend(event.ends_flows)
        if event.kind == TrackEvent.Type.TYPE_COUNTER:
            out.double_counter_value = event.value
        return packet

    def _intern(self, data: Any, table: str, text: str) -> int:
        """The number of a string in one of the sequence's tables; its first use carries the string itself."""
        number = self._interned.get((table, text))
        if number is None:
            number = self._interned[table, text] = len(self._interned) + 1
            getattr(data, table).add(iid=number, name=text)
        return number


class Lanes:
    """Slices that may overlap, on as many equally named tracks as are needed at once (viewers draw them as one)."""

    def __init__(self, writer: PerfettoWriter, name: str, parent: int, *, rank: int = 0) -> None:
        self._writer = writer
        self._place = (name, parent, rank)
        self._tracks: list[int] = []
        self._free_ns: list[int] = []

    def slice(self, begin_ns: int, end_ns: int, name: str, args: Args, flows: Sequence[int] = ()) -> None:
        """Call in order of begin_ns."""
        end_ns = max(begin_ns, end_ns)
        lane = next((n for n, free_ns in enumerate(self._free_ns) if free_ns <= begin_ns), None)
        if lane is None:
            lane = len(self._tracks)
            label, parent, rank = self._place
            self._tracks.append(self._writer.track(label, parent, rank=rank))
            self._free_ns.append(0)
        self._free_ns[lane] = end_ns
        self._writer.begin(begin_ns, self._tracks[lane], name, args, flows)
        self._writer.end(end_ns, self._tracks[lane])
