"""Decodes the sub-buffers that tracefs' trace_pipe_raw gives, by the field offsets of the events' `format` files.

A sub-buffer is u64 time, a long whose low 20 bits are the bytes in use, then events: a word with 5 bits of type or
length and 27 bits of time since the event before, then the payload (kernel: include/linux/ring_buffer.h and
Documentation/trace/ring-buffer-design.rst). Payloads begin with the event's id (common_type).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from minicomp.lab.kernel.events import RECORD, Event

_WORD = struct.Struct("<I")
_PAGE = struct.Struct("<QQ")
USED_MASK = (1 << 20) - 1
PADDING, TIME_EXTEND, TIME_STAMP = 29, 30, 31
TIME_STAMP_TOP = 0xF8 << 56
RUNNABLE = 0xFF
"""prev_state's bits below this are sleeping states; the bit above them only says that the thread was preempted."""

_FIELD = re.compile(r"field:(?P<type>[^;]*?)(?P<name>\w+)(\[\d+\])?;\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);\s*signed:(?P<signed>\d)")  # fmt: skip  # noqa: E501


@dataclass(frozen=True)
class Format:
    """An event's id, and where its fields lie: name -> (offset, bytes, signed)."""

    id: int
    fields: dict[str, tuple[int, int, bool]]

    @staticmethod
    def parse(text: str) -> Format:
        """Of a tracefs `format` file. Raises ValueError when it is none."""
        found = re.search(r"^ID: (\d+)$", text, re.MULTILINE)
        if found is None:
            raise ValueError("no event format")
        fields = {
            match["name"]: (int(match["offset"]), int(match["size"]), match["signed"] == "1")
            for match in _FIELD.finditer(text)
        }
        return Format(int(found[1]), fields)

    def number(self, name: str) -> Callable[[bytes, int], int]:
        """Reads an integer field at an offset."""
        offset, size, signed = self.fields[name]
        code = {1: "b", 2: "h", 4: "i", 8: "q"}[size]
        unpack = struct.Struct(f"<{code if signed else code.upper()}").unpack_from
        return lambda data, at: int(unpack(data, at + offset)[0])

    def text(self, name: str) -> Callable[[bytes, int], str]:
        offset, size, _signed = self.fields[name]
        return lambda data, at: data[at + offset : at + offset + size].split(b"\0", 1)[0].decode("utf-8", "replace")


class Decoder:
    """Turns sub-buffers into records; `names` collects what the threads were called."""

    def __init__(self, formats: dict[str, str]) -> None:
        self.names: dict[int, str] = {}
        self._takers: dict[int, Callable[[bytes, int, int, int], bytes]] = {}
        makers = {
            "sched_switch": self._switch,
            "sched_waking": self._woken,
            "sched_wakeup": self._woken,
            "sched_wakeup_new": self._woken,
            "irq_handler_entry": self._irq,
            "irq_handler_exit": self._irq,
            "drm_vblank_event": self._vblank,
        }
        for name, text in formats.items():
            if name in makers:
                form = Format.parse(text)
                self._takers[form.id] = makers[name](form, name)

    def pages(self, data: bytes, cpu: int) -> Iterator[bytes]:
        """Packed records of a run of sub-buffers, each cut to what it has in use."""
        offset = 0
        while offset + _PAGE.size <= len(data):
            time_ns, used = _PAGE.unpack_from(data, offset)
            begin = offset + _PAGE.size
            offset = begin + (used & USED_MASK)
            if offset > len(data):
                return
            yield from self._events(data, begin, offset, time_ns, cpu)

    def _events(self, data: bytes, at: int, end: int, t_ns: int, cpu: int) -> Iterator[bytes]:
        takers = self._takers
        while at + 4 <= end:
            word = _WORD.unpack_from(data, at)[0]
            kind, delta = word & 31, word >> 5
            at += 4
            if kind >= PADDING:
                if at + 4 > end or (kind == PADDING and delta == 0):
                    return
                more = _WORD.unpack_from(data, at)[0]
                if kind == PADDING:
                    t_ns += delta
                    at += more
                elif kind == TIME_EXTEND:
                    t_ns += (more << 27) + delta
                    at += 4
                else:
                    t_ns = (t_ns & TIME_STAMP_TOP) | ((more << 27) + delta)
                    at += 4
                continue
            t_ns += delta
            if kind:
                length, payload = kind * 4, at
            else:
                length, payload = _WORD.unpack_from(data, at)[0], at + 4
            taker = takers.get(data[payload] | data[payload + 1] << 8)
            if taker is not None:
                yield taker(data, payload, t_ns, cpu)
            at += length

    def _switch(self, form: Format, _name: str) -> Callable[[bytes, int, int, int], bytes]:
        prev, prev_prio, state = form.number("prev_pid"), form.number("prev_prio"), form.number("prev_state")
        after, after_prio, comm = form.number("next_pid"), form.number("next_prio"), form.text("next_comm")
        left_comm, names, pack = form.text("prev_comm"), self.names, RECORD.pack

        def take(data: bytes, at: int, t_ns: int, cpu: int) -> bytes:
            a, b = prev(data, at), after(data, at)
            names[b], names[a] = comm(data, at), left_comm(data, at)  # the last one counts: programs are exec'ed
            asleep = state(data, at) & RUNNABLE
            return pack(t_ns, a, b, prev_prio(data, at), after_prio(data, at), cpu, Event.SWITCH, asleep)

        return take

    def _woken(self, form: Format, name: str) -> Callable[[bytes, int, int, int], bytes]:
        pid, prio, target, waker = (form.number(key) for key in ("pid", "prio", "target_cpu", "common_pid"))
        kind, comm, names, pack = (
            Event.WAKING if name == "sched_waking" else Event.WAKEUP,
            form.text("comm"),
            self.names,
            RECORD.pack,
        )

        def take(data: bytes, at: int, t_ns: int, _cpu: int) -> bytes:
            a = pid(data, at)
            names.setdefault(a, comm(data, at))
            return pack(t_ns, a, waker(data, at), prio(data, at), 0, target(data, at), kind, 0)

        return take

    def _irq(self, form: Format, name: str) -> Callable[[bytes, int, int, int], bytes]:
        irq, pack = form.number("irq"), RECORD.pack
        kind = Event.IRQ_BEGIN if name == "irq_handler_entry" else Event.IRQ_END
        return lambda data, at, t_ns, cpu: pack(t_ns, irq(data, at), 0, 0, 0, cpu, kind, 0)

    def _vblank(self, form: Format, _name: str) -> Callable[[bytes, int, int, int], bytes]:
        crtc, seq, pack = form.number("crtc"), form.number("seq"), RECORD.pack
        return lambda data, at, t_ns, cpu: pack(
            t_ns, crtc(data, at), seq(data, at) & 0x7FFFFFFF, 0, 0, cpu, Event.VBLANK, 0
        )
