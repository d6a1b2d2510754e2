"""The control socket in this process: every method on a real compositor, what a peer may do to it, and its limits."""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import resource
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from minicomp.compositor.control import connection as connections
from minicomp.compositor.control import context as contexts
from minicomp.compositor.control.endpoint import ControlSocket, control_path
from minicomp.msg.client import Client, Refusal
from minicomp.msg.interface import (
    EVENTS,
    INVALID_PARAMS,
    INVALID_REQUEST,
    MAX_CONNECTIONS,
    MAX_LINE_BYTES,
    METHODS,
    NOT_AVAILABLE,
    NOT_FOUND,
    NOT_PERMITTED,
    REFUSED,
    TIMED_OUT,
)
from minicomp.shell.policy import Policy
from minicomp.testing import client as wayland
from minicomp.testing.image import compare
from minicomp.testing.instance import InProcess, configure
from tests.headless.conftest import CLIENTS
from tests.headless.programs import BACKGROUND, shown_window, start


@contextmanager
def controlled(instance: InProcess) -> Iterator[str]:
    """Serves a compositor's control socket; its path."""
    control = ControlSocket(instance.compositor.socket)
    assert control.path
    control.start(instance.compositor, instance.dispatcher, instance.thread, instance.supervisor.request_stop)
    try:
        yield control.path
    finally:
        assert control.stop()
        control.close()
        assert not os.path.exists(control.path)


class Running:
    """A compositor, its control socket, and a connection to it."""

    def __init__(self, stack: ExitStack, policy: Any = None, **options: Any) -> None:
        options = {"headless__outputs": ["640x480@60"], "policy__name": "stacking", **options}
        self.instance = stack.enter_context(InProcess(configure(**options), policy))
        self.path = stack.enter_context(controlled(self.instance))
        self.client = stack.enter_context(Client(self.path))
        self.call = self.client.call

    def raw(self) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(10)
        peer.connect(self.path)
        return peer

    def window(self, stack: ExitStack, colour: int = 0x3366CC, size: tuple[int, int] = (200, 100)) -> wayland.Window:
        client = stack.enter_context(wayland.Client(self.instance.compositor.socket))
        mapped_before = self.mapped()
        window = wayland.Window(client, title="a title", app_id="an.app")
        window.initial_commit(self.instance.wait_for)
        window.commit(*size, colour)
        client.roundtrip()
        self.instance.wait_for(lambda: self.mapped() > mapped_before, "the window")
        self.instance.settle()  # policy has placed and focused it
        return window

    def mapped(self) -> int:
        return sum(window.told_mapped for window in self.instance.dispatcher.windows)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def running(stack: ExitStack) -> Running:
    return Running(stack)


def refused(expected: int, call: Any, method: str, /, **params: Any) -> str:
    with pytest.raises(Refusal) as caught:
        call(method, **params)
    assert caught.value.error["code"] == expected, caught.value
    return str(caught.value)


# ---- looking ----


def test_everything_can_be_looked_at(running: Running, stack: ExitStack) -> None:
    running.window(stack)
    state = running.call("state")
    assert state["version"]["backend"] == "headless" and state["version"]["pid"] == os.getpid()
    (output,) = state["outputs"]
    assert (output["name"], output["mode"], output["usable"]) == ("HEADLESS-1", "640x480@60", [0, 0, 640, 480])
    assert output["modes"] == ["640x480@60"]
    (window,) = state["windows"]
    assert (window["title"], window["app_id"], window["width"], window["height"]) == ("a title", "an.app", 200, 100)
    assert window["focused"] and window["id"] == state["seat"]["focused"]
    (client,) = state["clients"]
    assert client["id"] == window["client"] and client["pid"] == os.getpid() and "screencopy" in client["privileged"]
    assert {device["type"] for device in state["devices"]} == {"keyboard", "pointer", "touch"}
    (stats,) = state["stats"]["outputs"]
    assert stats["frames"] >= 1 and stats["output"] == "HEADLESS-1"
    assert {lock["thread"] for lock in state["stats"]["lock"]} == {"loop", "render", "policy"}
    assert state["pacing"][0]["mode"] == "adaptive" and state["pacing"][0]["period_ms"] == pytest.approx(16.667, 0.01)
    assert running.call("config")["headless"]["latch_us"] == 1000
    assert {entry["name"] for entry in running.call("methods")} == {method.name for method in METHODS}


def test_stats_measure_frames(running: Running) -> None:
    start(running.instance, CLIENTS / "pulse", "--quiet", "--size", "100x80")

    def measured() -> Any:
        (stats,) = running.call("stats")["outputs"]
        return stats["frames"] > 70 and stats

    stats = running.instance.wait_for(measured, "frames")
    assert 0 < stats["cost_p50_ms"] <= stats["cost_p90_ms"] <= stats["cost_p99_ms"]
    assert 0 < stats["latency_p50_ms"] <= stats["latency_p90_ms"] <= stats["latency_p99_ms"]
    assert stats["paced"] <= stats["frames"]


# ---- acting ----


def test_windows_are_asked_by_way_of_the_policy(running: Running, stack: ExitStack) -> None:
    first = running.window(stack)
    window_id = running.call("windows")[0]["id"]
    second = running.window(stack, 0xCC3366)
    assert [window["focused"] for window in running.call("windows")] == [False, True]
    assert running.call("window.focus", window=window_id)["focused"]
    moved = running.call("window.place", window=window_id, x=30, width=300)
    assert (moved["x"], moved["y"]) == (30, 0)
    running.instance.wait_for(lambda: first.client.roundtrip() or first.configures[-1][0] == 300, "the new width")
    assert running.call("window.fullscreen", window="focused")["fullscreen"]
    assert not running.call("window.fullscreen", window=window_id, on=False)["fullscreen"]
    assert running.call("window.maximize", window=window_id)["maximized"]
    assert running.call("window.minimize", window=window_id)["minimized"]
    running.call("action", action="focus-next")
    assert "several windows" in refused(INVALID_PARAMS, running.call, "window.close", window="an.app")
    running.call("window.close", window=running.call("windows")[1]["id"])
    running.instance.wait_for(lambda: second.client.roundtrip() or second.closed, "the close event")
    assert not first.closed
    running.call("window.kill", window=window_id)
    running.instance.wait_for(lambda: len(running.call("windows")) == 1, "its end")
    refused(NOT_FOUND, running.call, "window.focus", window=window_id)
    refused(NOT_FOUND, running.call, "window.focus", window="no.such.app")
    (client,) = running.call("clients")
    running.call("client.kill", client=client["id"])
    running.instance.wait_for(lambda: not running.call("clients"), "its end")
    refused(NOT_FOUND, running.call, "client.kill", client=client["id"])
    refused(NOT_FOUND, running.call, "client.kill", client="rubbish")


def children() -> set[int]:
    """Of this process, also those that have ended and nobody has reaped."""
    lists = [(task / "children").read_text() for task in Path("/proc/self/task").iterdir()]
    return {int(pid) for line in lists for pid in line.split()}


def test_a_program_of_a_binding_finds_the_compositor_and_is_reaped_by_the_next(
    running: Running, tmp_path: Path
) -> None:
    said = tmp_path / "said"
    before = children()
    running.call("action", action=f"spawn:sh -c 'echo $WAYLAND_DISPLAY > {said}'")
    (first,) = children() - before
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    assert said.read_text() == f"{running.instance.compositor.socket}\n"
    running.call("action", action="spawn:true")
    (second,) = children() - before
    assert second != first
    os.waitpid(second, 0)


def test_outputs_are_set_plugged_and_broken(running: Running) -> None:
    call = running.call
    made = call("output.set", output="HEADLESS-1", mode="800x600@75", scale=2, transform="90", position=[5, 6])
    assert (made["mode"], made["scale"], made["transform"]) == ("800x600@75", 2, "90")
    assert (made["x"], made["y"], made["width"], made["height"]) == (5, 6, 300, 400)
    assert not call("output.set", output="HEADLESS-1", enabled=False)["enabled"]
    again = call("output.set", output="HEADLESS-1", enabled=True)
    assert again["enabled"] and (again["mode"], again["scale"], again["x"]) == ("800x600@75", 2, 5)
    assert call("output.plug", mode="320x240@144") == {"output": "HEADLESS-2", "connector": 2}
    running.instance.wait_for(lambda: len(running.instance.policy.outputs) == 2, "the second display")
    assert [output["name"] for output in call("outputs")] == ["HEADLESS-1", "HEADLESS-2"]
    call("output.fault", output="HEADLESS-2", vblanks=1, count=1)
    call("output.unplug", output="HEADLESS-2")
    running.instance.wait_for(lambda: len(running.instance.policy.outputs) == 1, "it to go")
    assert "HEADLESS-1" in refused(NOT_FOUND, call, "output.set", output="HEADLESS-2", scale=1)
    refused(INVALID_PARAMS, call, "output.set", output="HEADLESS-1", scale=0)
    said = refused(INVALID_PARAMS, call, "output.set", output="HEADLESS-1", mode="rubbish")
    assert said.startswith(
        'output.set: mode: "rubbish" is not allowed; allowed: "preferred", "highest-refresh", or a mode'
    )
    refused(INVALID_PARAMS, call, "output.plug", mode="rubbish")
    refused(INVALID_PARAMS, call, "output.fault", output="HEADLESS-1", vblanks=-1)


def test_pacing_and_log_level(running: Running) -> None:
    (pacing,) = running.call("pacing.set", mode="fixed", fixed_ms=3)
    assert (pacing["mode"], pacing["fixed_ms"], pacing["margin_ms"]) == ("fixed", 3, 3)
    (pacing,) = running.call("pacing.set", mode="adaptive", target_miss_rate=0.05)
    assert (pacing["mode"], pacing["fixed_ms"], pacing["target_miss_rate"]) == ("adaptive", 3, 0.05)
    refused(INVALID_PARAMS, running.call, "pacing.set", target_miss_rate=1)
    assert running.call("log.level", level="warning") == {"level": "warning"}
    assert logging.getLogger("minicomp").level == logging.WARNING
    running.call("log.level", level="info")


def test_knobs_are_set_and_given_back(running: Running) -> None:
    # An earlier test's thread that has just been joined may still be listed.
    loop = max(int(task) for task in os.listdir("/proc/self/task") if thread_name(task) == "mc-loop")
    slack = Path(f"/proc/self/task/{loop}/timerslack_ns")
    before = slack.read_text() if os.access(slack, os.R_OK) else ""
    assert running.call("knobs") == []
    effect = running.call("knob.set", name="knobs.system.timer_slack_ns", value=12_345)
    assert effect["took_effect"] and effect["wanted"] == 12_345, effect
    assert [entry["name"] for entry in running.call("knobs")] == ["knobs.system.timer_slack_ns"]
    assert running.call("knob.set", name="knobs.system.timer_slack_ns", value=None)["wanted"] is None
    assert running.call("knobs") == []
    assert before == (slack.read_text() if before else "")
    assert "knobs.TABLE.KEY" in refused(INVALID_PARAMS, running.call, "knob.set", name="nonsense", value=1)
    urgent = refused(INVALID_PARAMS, running.call, "knob.set", name="knobs.render.class", value="urgent")
    assert 'allowed: one of "other", "fifo", "rr", "deadline"' in urgent
    refused(REFUSED, running.call, "knob.set", name="knobs.system.governor", value="no_such_governor")
    assert running.call("knobs") == []


def thread_name(task: str) -> str:
    try:
        return Path(f"/proc/self/task/{task}/comm").read_text().strip()
    except OSError:  # it has ended meanwhile
        return ""


def test_the_step_clock_is_moved(stack: ExitStack) -> None:
    running = Running(stack, backend__clock="step")
    before = running.instance.compositor.now_ns()
    assert running.call("clock.advance", ns=5_000_000)["now_ns"] == before + 5_000_000
    vblank = running.call("clock.vblank")
    assert vblank["now_ns"] == vblank["vblank_ns"] > before + 5_000_000
    refused(INVALID_PARAMS, running.call, "clock.advance", ns=-1)


def test_the_real_clock_is_not(running: Running) -> None:
    assert "--clock step" in refused(NOT_AVAILABLE, running.call, "clock.advance", ns=1)


def test_quit_ends_the_run(running: Running) -> None:
    assert running.call("quit") == {"quitting": True}
    running.instance.wait_for(lambda: running.instance.supervisor.stop_signal == -1, "the request")


# ---- pictures and input ----


@pytest.mark.parametrize("transform", ["normal", "90", "flipped-270"])
def test_a_screenshot_shows_what_is_there(stack: ExitStack, transform: str, tmp_path: Path) -> None:
    running = Running(stack)
    running.call("output.set", output="HEADLESS-1", transform=transform)
    running.window(stack)
    (output,) = running.call("outputs")
    golden = Image.new("RGB", (output["width"], output["height"]), BACKGROUND)
    golden.paste((0x33, 0x66, 0xCC), (0, 0, 200, 100))
    answer = running.call("screenshot")
    picture = Image.open(io.BytesIO(base64.b64decode(answer["png"])))
    assert (answer["width"], answer["height"]) == picture.size
    assert not compare(picture, golden)
    path = tmp_path / "screen.png"
    path.write_bytes(b"x" * 100_000)  # it must not shine through
    answer = running.call("screenshot", output="HEADLESS-1", path=str(path))
    assert answer["path"] == str(path) and answer["bytes"] == path.stat().st_size
    assert not compare(Image.open(path), golden)


def test_screenshots_that_cannot_be(running: Running, tmp_path: Path) -> None:
    refused(INVALID_PARAMS, running.call, "screenshot", path="relative.png")
    refused(NOT_FOUND, running.call, "screenshot", output="HEADLESS-7")
    with pytest.raises(Refusal, match="No such file"):
        running.call("screenshot", path=str(tmp_path / "no/such/folder.png"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refusal, match="pipe: "):
        running.call("screenshot", path=str(tmp_path / "pipe"))
    running.call("output.set", output="HEADLESS-1", enabled=False)
    refused(NOT_FOUND, running.call, "screenshot")
    with pytest.raises(Refusal, match="switched off"):
        running.call("screenshot", output="HEADLESS-1")


def test_a_screenshot_that_no_frame_comes_for_holds_up_nobody(
    stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minicomp.compositor.control import picture

    monkeypatch.setattr(picture, "CAPTURE_WAIT_S", 0.5)
    running = Running(stack, backend__clock="step")
    waiting = running.raw()
    with waiting:
        waiting.sendall(b'{"jsonrpc":"2.0","method":"screenshot","id":1}\n')
        begin = time.monotonic()
        assert running.call("version")["clock"] == "step"
        assert time.monotonic() - begin < 0.4
        reply = json.loads(waiting.makefile().readline())
    assert reply["error"]["code"] == TIMED_OUT and "step clock" in reply["error"]["data"]["todo"]


def test_input_is_injected(running: Running, stack: ExitStack) -> None:
    call, seat = running.call, running.instance.compositor.seat
    call("input.move", x=100, y=50)
    assert (seat.pointer.x, seat.pointer.y) == (100, 50)
    assert call("input.move_by", dx=5, dy=-5) == {"x": 105, "y": 45, "buttons_held": 0}
    assert call("input.button", button="BTN_RIGHT", pressed=True)["buttons_held"] == 1
    assert call("input.button", button="BTN_RIGHT", pressed=False)["buttons_held"] == 0
    client = running.client
    assert client.request("input.drag", {"from": [1, 2], "to": [300, 200]})["x"] == 300
    call("input.scroll", clicks=-3)
    call("input.tap", x=10, y=20)
    client.request("input.swipe", {"from": [1, 2], "to": [300, 200], "steps": 3})
    call("input.touch_down", x=1, y=1, id=3)
    call("input.touch_move", x=2, y=2, id=3)
    call("input.touch_up", id=3)
    call("input.touch_down", x=1, y=1)
    call("input.touch_cancel")
    call("input.key", code=30, pressed=True)
    call("input.key", code=30, pressed=False)
    call("input.press", keys="Ctrl+Alt+t")
    call("input.type", text="Hello\n")
    assert "no key" in refused(INVALID_PARAMS, call, "input.press", keys="NoSuchKey")
    assert "nothing was typed" in refused(INVALID_PARAMS, call, "input.type", text="a\N{SNOWMAN}")
    refused(INVALID_PARAMS, call, "input.type", text="a" * 10_001)
    refused(INVALID_PARAMS, call, "input.key", code=0, pressed=True)
    refused(INVALID_PARAMS, call, "input.tap", x=1, y=1, id=32)


def test_spying_is_permitted_as_the_configuration_says(stack: ExitStack) -> None:
    running = Running(stack, trust__mode="listed")
    for method in METHODS:
        if method.spies:
            assert "control.spy" in refused(NOT_PERMITTED, running.call, method.name)
    assert running.call("windows") == []


def test_spying_can_be_permitted_by_name(stack: ExitStack) -> None:
    assert Running(stack, trust__mode="listed", control__spy="yes").call("screenshot")["width"] == 640


# ---- events ----


def test_subscribers_hear_what_happens(running: Running, stack: ExitStack) -> None:
    listener = stack.enter_context(Client(running.path))
    assert set(listener.call("subscribe", events=["window", "output.*", "client"])["events"]) == {
        name for name in EVENTS if name.partition(".")[0] in ("window", "output", "client")
    }
    with ExitStack() as window_stack:
        running.window(window_stack)
        running.call("output.plug", mode="320x240@60")
        running.instance.wait_for(lambda: len(running.instance.policy.outputs) == 2, "the display")
        running.call("output.unplug", output="HEADLESS-2")
        running.instance.wait_for(lambda: len(running.instance.policy.outputs) == 1, "it to go")
    heard: list[dict[str, Any]] = []
    for event in listener.events():
        heard.append(event)
        names = [entry["event"] for entry in heard]
        if {"client.gone", "window.gone", "output.gone"} <= set(names) and names.count("window.focus") == 2:
            break
    assert names.index("client.new") < names.index("window.new") < names.index("window.map")
    assert names.index("window.map") < names.index("window.unmap") < names.index("window.gone")
    gone = next(event for event in heard if event["event"] == "window.gone")
    assert gone["window"]["title"] == "a title"
    unplugged = next(event for event in heard if event["event"] == "output.gone")
    assert unplugged["output"]["name"] == "HEADLESS-2"
    focus = [event["window"] for event in heard if event["event"] == "window.focus"]
    assert focus[0]["app_id"] == "an.app" and focus[1] is None
    times = [event["time_ns"] for event in heard]
    assert all(0 < moment <= time.monotonic_ns() for moment in times)
    assert running.instance.dispatcher.observer is not None
    listener.call("unsubscribe")
    assert running.instance.dispatcher.observer is None
    assert "window.map" in refused(INVALID_PARAMS, listener.call, "subscribe", events=["nonsense"])


def test_misses_are_events(running: Running, stack: ExitStack) -> None:
    start(running.instance, CLIENTS / "pulse", "--quiet", "--size", "100x80")
    running.instance.wait_for(lambda: running.call("stats")["outputs"][0]["frames"] > 20, "frames")
    listener = stack.enter_context(Client(running.path))
    listener.call("subscribe", events=["frame.missed"])
    running.call("output.fault", output="HEADLESS-1", vblanks=2, count=5)
    event = next(listener.events())
    assert event["event"] == "frame.missed" and event["output"] == "HEADLESS-1" and event["count"] >= 1


class Sleepy(Policy):
    """Does not return from a binding until told."""

    released = threading.Event()

    def on_binding(self, action: str) -> None:
        assert self.released.wait(10)


def test_a_stuck_policy_can_be_looked_at(stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contexts, "POLICY_WAIT_S", 0.3)
    Sleepy.released.clear()
    running = Running(stack, policy=Sleepy)
    listener = stack.enter_context(Client(running.path))
    listener.call("subscribe", events=["policy"])
    begun = refused(TIMED_OUT, running.call, "action", action="anything")
    assert "has begun" in begun and "Sleepy.on_binding" in begun
    assert "nothing was changed" in refused(TIMED_OUT, running.call, "output.set", output="HEADLESS-1", scale=2)
    assert running.call("windows") == []  # looking goes on
    events = listener.events()
    stuck = next(events)
    assert stuck["event"] == "policy.stuck" and stuck["in"] == "Sleepy.on_binding"
    assert running.call("stats")["policy_stuck_s"] > 0.5
    Sleepy.released.set()
    assert next(events)["event"] == "policy.back"
    running.instance.settle()
    assert running.call("outputs")[0]["scale"] == 1  # what was given up is not done later
    running.instance.pump(0.02)


# ---- what a peer may do ----


def test_the_socket_is_private(running: Running) -> None:
    status = os.stat(running.path)
    assert stat.S_ISSOCK(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o600
    assert running.path == control_path(running.instance.compositor.socket)


def test_batches_and_half_closed_connections(running: Running) -> None:
    with running.raw() as peer:
        peer.sendall(
            b'[{"jsonrpc":"2.0","method":"pacing.set","params":{"mode":"asap"}},'
            b'{"jsonrpc":"2.0","method":"pacing","id":1},{"jsonrpc":"2.0","method":"nothing","id":2}]'
            + b"\n" * 9999
            + b'{"jsonrpc":"2.0","method":"version","id":3}'  # no newline, but the end
        )
        peer.shutdown(socket.SHUT_WR)
        batch, single = [json.loads(line) for line in peer.makefile("rb").read().splitlines()]
    assert [entry["id"] for entry in batch] == [1, 2]
    assert batch[0]["result"][0]["mode"] == "asap"
    assert single["id"] == 3


def test_a_line_without_end_is_cut_off(running: Running) -> None:
    with running.raw() as peer:
        with pytest.raises(BrokenPipeError):
            while True:
                peer.sendall(b"x" * 65536)
        reply = json.loads(peer.makefile().readline())
    assert reply["error"]["code"] == INVALID_REQUEST and str(MAX_LINE_BYTES) in reply["error"]["message"]
    assert running.call("version")


def test_too_many_connections(running: Running, stack: ExitStack) -> None:
    peers = [stack.enter_context(Client(running.path)) for _ in range(MAX_CONNECTIONS - 1)]
    assert all(peer.call("version") for peer in peers)
    with running.raw() as late:
        reply = json.loads(late.makefile().readline())
        assert "connections already" in reply["error"]["message"]
    peers[0].close()

    def has_place() -> bool:
        with Client(running.path) as peer, suppress(Refusal):
            return bool(peer.call("version"))
        return False

    running.instance.wait_for(has_place, "a place")


def test_without_descriptors_a_connection_waits(running: Running) -> None:
    assert running.call("version")
    with socket.socket(socket.AF_UNIX) as peer:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
        taken = []
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            peer.connect(running.path)
            peer.sendall(b'{"jsonrpc":"2.0","method":"version","id":1}\n')
            running.instance.wait_for(lambda: any("waits" in m for m in running.instance.log.messages()), "the warning")
            assert running.call("version")  # those that are connected notice nothing
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        peer.settimeout(10)
        assert json.loads(peer.makefile().readline())["id"] == 1
    assert sum("waits" in message for message in running.instance.log.messages()) < 5  # and it was not spinning


def test_who_never_reads_is_dropped(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALLED_AFTER_S", 0.3)
    with running.raw() as peer:
        peer.setblocking(False)
        request = b'{"jsonrpc":"2.0","method":"methods","id":1}\n' * 1000
        deadline = time.monotonic() + 10
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() < deadline:
                try:
                    peer.send(request)
                except BlockingIOError:
                    time.sleep(0.01)
        assert running.call("version")
    running.instance.wait_for(lambda: any("dropped" in m for m in running.instance.log.messages()), "the warning")


def test_a_subscriber_that_never_reads_is_dropped(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_UNREAD_EVENT_BYTES", 10_000)
    with running.raw() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.sendall(b'{"jsonrpc":"2.0","method":"subscribe","id":1}\n')

        def busy() -> bool:
            for scale in (1, 2):
                running.call("output.set", output="HEADLESS-1", scale=scale)
            return any("were not read" in message for message in running.instance.log.messages())

        running.instance.wait_for(busy, "it to be dropped", timeout_s=30)
    assert running.call("version")


def test_who_leaves_in_the_middle_harms_nothing(running: Running) -> None:
    for method in ("state", "screenshot", "subscribe", "action"):
        for _ in range(5):
            with running.raw() as peer:
                peer.sendall(json.dumps({"jsonrpc": "2.0", "method": method, "id": 1}).encode() + b"\n")
    assert running.call("version")
    running.instance.wait_for(lambda: running.instance.dispatcher.observer is None, "the subscribers to be forgotten")


@pytest.mark.parametrize("what", ["a screenshot", "the policy"])
def test_the_end_does_not_wait_for_a_request(stack: ExitStack, what: str) -> None:
    Sleepy.released.clear()
    running = Running(stack, policy=Sleepy, backend__clock="step")
    with running.raw() as peer:
        request = {"jsonrpc": "2.0", "method": "screenshot", "id": 1}
        if what == "the policy":
            request = {"jsonrpc": "2.0", "method": "action", "params": ["anything"], "id": 1}
        peer.sendall(json.dumps(request).encode() + b"\n")
        assert running.call("version")
        time.sleep(0.1)  # for the request to be under way
        begin = time.monotonic()
        stack.pop_all().close() if what == "a screenshot" else leave(stack)
        assert time.monotonic() - begin < 3
        assert peer.recv(4096) == b""


def leave(stack: ExitStack) -> None:
    """The policy returns a little after the control socket was told to end."""
    threading.Timer(0.3, Sleepy.released.set).start()
    stack.pop_all().close()


def test_start_up_imports_little_of_it() -> None:
    script = "import minicomp.compositor.control.endpoint, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"json", "socket", "selectors", "zlib", "base64", "minicomp.msg", "minicomp.compositor.control.serve"}
    assert heavy.isdisjoint(loaded)


REQUESTS = st.builds(
    lambda method, params: json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).encode(),
    st.sampled_from([m.name for m in METHODS if m.name not in ("quit", "subscribe", "knob.set", "action")]),
    st.dictionaries(
        st.sampled_from(sorted({p.name for m in METHODS for p in m.parameters} - {"path", "enabled", "mode"})),
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.integers(-9, 99) | st.floats() | st.text(max_size=5)
        | st.lists(st.integers(-9, 9), max_size=3) | st.sampled_from(["HEADLESS-1", "focused", "an.app", "90"]),
        max_size=5,
    ),
)  # fmt: skip


@pytest.fixture
def fuzzed() -> Iterator[Running]:
    with ExitStack() as stack:
        running = Running(stack, log__level="error")
        start(running.instance, CLIENTS / "echo", "--quiet", "--app-id", "an.app", "--size", "100x100")
        shown_window(running.instance)
        yield running


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(lines=st.lists(REQUESTS | st.binary(max_size=60), max_size=4), half_close=st.booleans())
def test_no_bytes_hurt_the_compositor(fuzzed: Running, lines: list[bytes], half_close: bool) -> None:
    with fuzzed.raw() as peer:
        peer.sendall(b"\n".join(lines) + b"\n")
        if half_close:
            peer.shutdown(socket.SHUT_WR)
            for line in peer.makefile("rb").read().splitlines():
                reply = json.loads(line)
                for entry in reply if isinstance(reply, list) else [reply]:
                    assert entry.get("error", {}).get("code") != -32603, (lines, entry)
    assert fuzzed.call("version")["backend"] == "headless"
    if not fuzzed.call("outputs"):
        fuzzed.call("output.plug")
    if not fuzzed.call("windows"):
        start(fuzzed.instance, CLIENTS / "echo", "--quiet", "--app-id", "an.app", "--size", "100x100")
