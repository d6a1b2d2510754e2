"""A client that sends more requests than its ration waits in its socket, and nothing that it sent is lost.

How much that spares the others is `scripts/bench --vm --scene crowd`; here it is what is served, to whom and in which
order. Fds, threads and children left behind are counted around every test (`no_leaks` of this folder).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minicomp.compositor.tracefile import TraceFile
from minicomp.lab.pipeline.points import MutedFlag, Point
from minicomp.lab.pipeline.runfile import read_run
from minicomp.testing.client import Client
from minicomp.testing.instance import InProcess, configure
from tests.headless.conftest import CLIENTS
from tests.headless.programs import shown_window
from tests.headless.seat_client import SeatClient

KINDS = ["epoll", "epoll-edge", "io-uring", "io-uring-sqpoll"]
NEXT_TO_NOTHING = 1e-6
"""A share that every read exceeds."""
READ_BYTES = 4096
SYNC_BYTES = 12


def started(share: float, **settings: Any) -> InProcess:
    chosen = {"headless__outputs": ["640x480@120"], "policy__name": "stacking", **settings}
    return InProcess(configure(limits__time_share_per_client=share, loop__sqpoll_idle_ms=1, **chosen))


@pytest.fixture(params=[True, False], ids=["render-thread", "loop-renders"])
def modes(request: pytest.FixtureRequest) -> Iterator[Callable[..., InProcess]]:
    yield lambda share, **settings: started(share, render__thread=request.param, **settings)


def clients(instance: InProcess) -> dict[int, Any]:
    """By id, in the order of connecting."""
    compositor = instance.compositor
    infos = compositor.ffi.new("struct mc_client_info[]", 64)
    count = compositor.lib.mc_clients_list(compositor.server, infos, 64)
    return {info.id: info for info in sorted(infos[0:count], key=lambda info: info.id)}


def newest(instance: InProcess) -> Any:
    return list(clients(instance).values())[-1]


def turns(instance: InProcess) -> int:
    """How often the loop thread took the lock."""
    counters = instance.compositor.ffi.new("struct mc_counters *")
    instance.compositor.lib.mc_server_counters(instance.compositor.server, counters)
    return int(counters.lock_acquired[0])


def send_syncs(client: Client, count: int) -> list[int]:
    """Sends so many wl_display.sync; the list grows by the number of each that was answered, in that order."""
    answered: list[int] = []
    callbacks = [client.display.sync() for _ in range(count)]
    client.bound["callbacks"] = callbacks  # kept: what is collected hears nothing
    for number, callback in enumerate(callbacks):
        callback.dispatcher["done"] = lambda callback, serial, number=number: answered.append(number)
    client.display.flush()
    return answered


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_answered_in_order(kind: str, modes: Callable[..., InProcess]) -> None:
    with modes(NEXT_TO_NOTHING, loop__wait=kind) as instance, SeatClient(instance) as client:
        before = newest(instance).times_muted
        count = 10 * READ_BYTES // SYNC_BYTES
        answered = send_syncs(client, count)
        client.roundtrip()
        assert answered == list(range(count))
        # The last read may still be under way to the count.
        instance.wait_for(lambda: newest(instance).times_muted >= before + 10, "a pause after each read")


@pytest.mark.parametrize("kind", KINDS)
def test_the_others_present_frames_meanwhile(kind: str, modes: Callable[..., InProcess], tmp_path: Path) -> None:
    log = tmp_path / "pulse.jsonl"
    with modes(0.125, loop__wait=kind) as instance:
        flood = instance.launch([str(CLIENTS / "hostile"), "flood-commits", "--count", "100000000"])
        instance.wait_for(lambda: clients(instance) and newest(instance).times_muted > 3, "the flood to be muted")
        flooder = newest(instance).id
        code, output = instance.run([str(CLIENTS / "pulse"), "--frames", "30", "--quiet", "--log", str(log)])
        assert code == 0, output
        assert sum(json.loads(line)["type"] == "frame" for line in log.read_text().splitlines()) == 30
        assert flood.poll() is None and clients(instance)[flooder].times_muted > 3
        flood.kill()
        instance.wait_for(lambda: flooder not in clients(instance), "its end to be noticed")


def test_a_muted_client_that_is_gone_is_noticed(modes: Callable[..., InProcess]) -> None:
    """It left requests in its socket: they are not read any more."""
    with modes(NEXT_TO_NOTHING) as instance, SeatClient(instance):
        goner = SeatClient(instance)
        its_id = newest(instance).id
        with instance.compositor.locked():
            answered = send_syncs(goner, 5000)
        instance.wait_for(lambda: clients(instance)[its_id].times_muted > 3, "it to be muted")
        goner.close()
        instance.wait_for(lambda: its_id not in clients(instance), "its end to be noticed")
        assert len(answered) < 5000


def test_waiting_is_no_busy_loop(modes: Callable[..., InProcess]) -> None:
    """One read a refresh with some turns around it; the loop thread would take thousands if the socket woke it."""
    with modes(NEXT_TO_NOTHING, headless__outputs=["640x480@30"]) as instance, SeatClient(instance) as client:
        with instance.compositor.locked():
            send_syncs(client, 15000)
        muted_before, before = newest(instance).times_muted, turns(instance)
        instance.wait_for(lambda: newest(instance).times_muted >= muted_before + 10, "ten reads")
        reads = newest(instance).times_muted - muted_before
        assert turns(instance) - before < 20 * reads
        client.roundtrip()


def test_without_an_output_it_is_served_as_well(modes: Callable[..., InProcess]) -> None:
    with modes(NEXT_TO_NOTHING) as instance, SeatClient(instance) as client:
        instance.compositor.unplug(1)
        instance.wait_for(lambda: not list(instance.compositor.outputs), "no output")
        answered = send_syncs(client, 3000)
        client.roundtrip()
        assert len(answered) == 3000


def test_a_muted_client_that_does_not_read_is_told_everything_later(modes: Callable[..., InProcess]) -> None:
    """libwayland watches for room in its socket, and that watch is ours to change as well."""
    with modes(NEXT_TO_NOTHING, limits__unread_bytes_per_client=1 << 20) as instance, SeatClient(instance) as client:
        muted = newest(instance).times_muted
        registries = [client.display.get_registry() for _ in range(60)]  # each is answered by 2 KiB
        found: list[int] = []
        for registry in registries:
            registry.dispatcher["global"] = lambda registry, name, interface, version: found.append(name)
        client.display.flush()
        instance.wait_for(lambda: newest(instance).times_muted > muted, "it to be muted")
        client.roundtrip()
        assert len(found) == 60 * len(client.globals)


def test_a_flood_is_named_once(modes: Callable[..., InProcess]) -> None:
    with modes(NEXT_TO_NOTHING) as instance:
        flood = instance.launch([str(CLIENTS / "hostile"), "flood-commits"])

        def warned() -> list[str]:
            return [message for message in instance.log.messages() if "floods us" in message]

        instance.wait_for(warned, "a warning", timeout_s=20)
        times = newest(instance).times_muted
        instance.wait_for(lambda: newest(instance).times_muted > times + 2, "further reads")
        assert len(warned()) == 1 and f"(pid {flood.pid})" in warned()[0]


@pytest.mark.parametrize("program", [["foot", "--config=/dev/null"], ["weston-terminal"], [str(CLIENTS / "pulse")]])
def test_no_program_starts_slower(program: list[str], modes: Callable[..., InProcess]) -> None:
    with modes(0.125) as instance:
        process = instance.launch(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shown_window(instance)
        instance.pump(0.3)
        assert [info.times_muted for info in clients(instance).values()] == [0]
        process.terminate()


def test_the_run_file_says_who_waited_and_when(modes: Callable[..., InProcess], tmp_path: Path) -> None:
    """Muted and served, by the client's id, with what its turn took."""
    with modes(NEXT_TO_NOTHING) as instance, SeatClient(instance) as client:
        trace = TraceFile(instance.compositor, tmp_path / "run.mct")
        its_id = newest(instance).id
        send_syncs(client, 10 * READ_BYTES // SYNC_BYTES)
        client.roundtrip()
        trace.close()
    run = read_run(tmp_path / "run.mct")
    mine = (run.column("point") == Point.CLIENT_MUTED) & (run.column("surface_id") == its_id)
    flags, took_ns = run.column("flags")[mine], run.column("arg")[mine]
    assert sum(flags == MutedFlag.SERVED) >= 9 and sum(flags == 0) >= 9
    assert all(took_ns[flags == 0] > 0) and not any(took_ns[flags == MutedFlag.SERVED])


def test_a_share_of_one_is_no_ration(modes: Callable[..., InProcess]) -> None:
    with modes(1.0) as instance, SeatClient(instance) as client:
        send_syncs(client, 10 * READ_BYTES // SYNC_BYTES)
        client.roundtrip()
        assert newest(instance).times_muted == 0


def test_with_the_step_clock_there_is_none() -> None:
    """Time stands still: nobody is late, and nobody could be served later."""
    with started(NEXT_TO_NOTHING, backend__clock="step") as instance, SeatClient(instance) as client:
        send_syncs(client, 10 * READ_BYTES // SYNC_BYTES)
        client.roundtrip()
        assert newest(instance).times_muted == 0
