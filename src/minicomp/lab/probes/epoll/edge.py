"""Level against edge: what an undrained edge loses, for a pipe and for an epoll inside an epoll."""

from __future__ import annotations

import os
import select
from contextlib import ExitStack

from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds

SOURCES = 40
A_DISPATCH = 32
"""Events that one wl_event_loop_dispatch takes from its epoll."""


def _pipe(stack: ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    stack.callback(os.close, writing)
    return reading, writing


def _epoll(stack: ExitStack) -> select.epoll:
    instance = select.epoll()
    stack.callback(instance.close)
    return instance


def told_again(flags: int) -> tuple[bool, bool]:
    """After one of two bytes was read: whether the fd is reported again; and whether it is when a byte comes."""
    with ExitStack() as stack:
        reading, writing = _pipe(stack)
        waiter = _epoll(stack)
        waiter.register(reading, select.EPOLLIN | flags)
        os.write(writing, b"ab")
        assert len(waiter.poll(1)) == 1
        os.read(reading, 1)
        left = bool(waiter.poll(0))
        os.write(writing, b"c")
        return left, bool(waiter.poll(0))


def measure_level(budget: Budget) -> Result:
    again, _ = told_again(0)
    return holds(f"with a byte unread the fd is {'' if again else 'not '}reported again", when=again)


def measure_edge(budget: Budget) -> Result:
    again, by_new_data = told_again(select.EPOLLET)
    seen = f"the unread byte is {'reported again' if again else 'never reported'}; "
    seen += "new data reports the fd" if by_new_data else "not even new data reports the fd"
    return holds(seen, when=not again and by_new_data)


def waits(flags: int, drain: bool, messages: int) -> int:
    """epoll_wait returns until `messages` of 100 bytes, each read in steps of 10, have been read."""
    count = 0
    with ExitStack() as stack:
        reading, writing = _pipe(stack)
        os.set_blocking(reading, False)
        waiter = _epoll(stack)
        waiter.register(reading, select.EPOLLIN | flags)
        for _ in range(messages):
            os.write(writing, bytes(100))
            left = 100
            while left:
                assert waiter.poll(1)
                count += 1
                while left:
                    left -= len(os.read(reading, 10))
                    if not drain:
                        break
    return count


def measure_returns(budget: Budget) -> Result:
    messages = 100
    level, level_drained = waits(0, False, messages), waits(0, True, messages)
    edge = waits(select.EPOLLET, True, messages)
    return holds(
        f"for {messages} messages: edge {edge} returns, level {level} when a tenth is read each time, {level_drained} "
        "when it is read empty as an edge demands: what saves the returns is reading empty, not the edge",
        Number.exact("returns, edge, drained", edge),
        Number.exact("returns, level, drained", level_drained),
        Number.exact("returns, level, a tenth at a time", level),
        when=edge < level_drained,
    )


def nested(flags: int) -> tuple[bool, bool]:
    """An epoll with SOURCES ready pipes inside another; after one dispatch, whether the outer one tells of the rest,
    and whether it does once it was asked anew (EPOLL_CTL_MOD).
    """
    with ExitStack() as stack:
        outer, inner = _epoll(stack), _epoll(stack)
        pipes = [_pipe(stack) for _ in range(SOURCES)]
        for reading, _ in pipes:
            inner.register(reading, select.EPOLLIN)
        outer.register(inner, select.EPOLLIN | flags)
        for _, writing in pipes:
            os.write(writing, b"x")
        assert len(outer.poll(1)) == 1
        for fd, _ in inner.poll(0, A_DISPATCH):
            os.read(fd, 1)
        again = bool(outer.poll(0))
        outer.modify(inner, select.EPOLLIN | flags)
        return again, bool(outer.poll(0))


def measure_nested(budget: Budget) -> Result:
    level, _ = nested(0)
    edge, armed = nested(select.EPOLLET)
    seen = f"{SOURCES - A_DISPATCH} of {SOURCES} sources still ready inside: the level-triggered outer epoll "
    seen += f"{'says so' if level else 'is silent'}, the edge-triggered one {'says so' if edge else 'is silent'}"
    seen += " until EPOLL_CTL_MOD makes it look" if armed and not edge else ""
    return holds(seen, when=level and not edge and armed)


_LOOP = "The loop thread's epoll is level-triggered by default; loop.wait = epoll-edge arms libwayland's loop anew "
_LOOP += "before each sleep (native/pure/wait_epoll.c)."

PROBES = (
    Probe(
        name="epoll-level",
        section=5,
        statement="Level-triggered (default): epoll_wait returns if fd is ready. No re-arm: returns "
        "again if still ready",
        method="Two bytes in a pipe, one is read, epoll_wait is asked again.",
        used_by=_LOOP,
        measure=measure_level,
    ),
    Probe(
        name="epoll-edge-lost",
        section=5,
        statement="Edge-triggered: if you do not read all available data, you will never be notified again until new "
        "data arrives.",
        method="The same with EPOLLET; then a third byte is written.",
        used_by=_LOOP,
        measure=measure_edge,
    ),
    Probe(
        name="epoll-edge-returns",
        section=5,
        statement="Edge-triggered is faster (fewer epoll_wait returns)",
        method="Messages of 100 bytes through a pipe; returns of epoll_wait are counted for level (reading 10 bytes a "
        "return, and reading empty) and edge. Holds: edge returns less often than level with the same reading.",
        used_by=_LOOP + " With the nested loop an edge costs a system call more, not less (docs/knobs.md).",
        measure=measure_returns,
    ),
    Probe(
        name="epoll-nested",
        section=5,
        statement=".poll_wait: used for nested epoll",
        method=f"{SOURCES} ready pipes in an epoll inside an epoll, as libwayland's loop is in ours; {A_DISPATCH} are "
        "taken, as one dispatch does, and the outer epoll is asked again: level, edge, edge armed anew.",
        used_by="libwayland's loop fd is an epoll fd; the loop thread watches it in its own epoll, to wait "
        "without the lock.",
        measure=measure_nested,
    ),
)
