"""What keeps a kiosk alive and dark: idleness, [[input]] settings where there is no libinput, the watchdog."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from pywayland.protocol.idle_inhibit_unstable_v1 import ZwpIdleInhibitManagerV1

from minicomp.compositor.watchdog import Watchdog, interval_s
from minicomp.testing.instance import InProcess, configure
from tests.headless.seat_client import Placed, SeatClient
from tests.headless.test_run import MINICOMP, environment, runtime_dir

__all__ = ["runtime_dir"]  # a fixture

KEY_A = 30


def on(stage: InProcess) -> list[bool]:
    return [output.enabled for output in stage.compositor.outputs]


def test_screens_go_off_without_input_and_come_on_as_they_were() -> None:
    config = configure(
        headless__outputs=["800x600@60", "640x480@60"],
        idle__output_off_after_s=1,
        output=[{"name": "HEADLESS-2", "transform": "90", "scale": 2.0, "position": [800, 40]}],
    )
    with InProcess(config) as stage:
        before = list(stage.compositor.outputs)
        stage.wait_for(lambda: on(stage) == [False, False], "the screens to go off", 5)
        stage.settle()
        assert [o.box for o in stage.dispatcher.outputs.values()] == [o.box for o in before], "asleep, not gone"
        stage.compositor.seat.inject.press("a")
        stage.wait_for(lambda: on(stage) == [True, True], "the screens to come on")
        stage.settle()
        assert [(o.name, o.box, o.scale, o.transform, o.refresh_mhz) for o in stage.compositor.outputs] == [
            (o.name, o.box, o.scale, o.transform, o.refresh_mhz) for o in before
        ]
        stage.wait_for(lambda: on(stage) == [False, False], "the screens to go off again", 5)


def test_input_keeps_the_screens_on_by_the_step_clock() -> None:
    with InProcess(configure(backend__clock="step", idle__output_off_after_s=10)) as stage:
        second_ns = 1_000_000_000
        for _ in range(5):
            stage.compositor.advance_ns(9 * second_ns)
            stage.compositor.seat.inject.move(10, 10)
            stage.settle()
            assert on(stage) == [True]
        stage.compositor.advance_ns(10 * second_ns - 1)
        stage.settle()
        assert on(stage) == [True]
        stage.compositor.advance_ns(1)
        stage.settle()
        assert on(stage) == [False]


def test_a_monitor_plugged_while_the_screens_are_off_stays_off_until_input() -> None:
    with InProcess(configure(backend__clock="step", idle__output_off_after_s=10)) as stage:
        stage.compositor.advance_ns(10_000_000_000)
        stage.settle()
        stage.compositor.plug(640, 480, 60_000)
        stage.settle()
        assert on(stage) == [False, False]
        stage.compositor.seat.inject.move(10, 10)
        stage.settle()
        assert on(stage) == [True, True]


def test_a_visible_inhibitor_keeps_the_screens_on() -> None:
    with InProcess(configure(idle__output_off_after_s=1, headless__outputs=["800x600@60"]), policy=Placed) as stage:
        with SeatClient(stage) as client:
            window = client.window(50, 50, 300, 200)
            manager = client.bind(ZwpIdleInhibitManagerV1)
            inhibitor = manager.create_inhibitor(window.surface)
            client.roundtrip()
            stage.pump(1.6)
            assert on(stage) == [True]
            inhibitor.destroy()
            client.roundtrip()
            stage.wait_for(lambda: on(stage) == [False], "the screen to go off", 5)


def test_input_settings_where_there_is_no_libinput() -> None:
    """A keymap and an output work for every device; libinput's settings are a debug line."""
    config = configure(
        headless__outputs=["800x600@60", "640x480@60"],
        input=[
            {"type": "keyboard", "layout": "de"},
            {"type": "touch", "tap": True, "map_to_output": "HEADLESS-2"},
        ],
    )
    with InProcess(config, policy=Placed) as stage, SeatClient(stage) as client:
        client.window(50, 50, 300, 200)
        stage.settle()
        assert any("none of libinput's: no tap" in message for message in stage.log.messages())
        stage.compositor.seat.inject.key(KEY_A, True)
        stage.compositor.seat.inject.key(KEY_A, False)
        keymaps = client.take("keyboard.keymap")
        assert len(keymaps) == 2, "the common one, and the device's own with its first key"
        assert not any(message.startswith("minicomp.input: device") for message in stage.log.messages(30))


def test_a_device_keeps_the_common_keymap_when_its_own_is_wrong() -> None:
    with InProcess(configure(input=[{"type": "keyboard", "layout": "nowhere"}])) as stage:
        stage.settle()
        warnings = [message for message in stage.log.messages(30) if "keeps the common keymap" in message]
        assert len(warnings) == 1
        assert 'xkb knows no layout "nowhere"' in warnings[0]


def receive_all(receiver: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(receiver.recv(100))
        except BlockingIOError:
            return found


def test_systemds_watchdog_is_fed(runtime_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as receiver:
        receiver.bind(str(path))
        variables = environment(runtime_dir, NOTIFY_SOCKET=str(path), WATCHDOG_USEC="600000")
        command = [*MINICOMP, "run", "--backend", "headless", "--", "sleep", "1.5"]
        assert subprocess.run(command, env=variables, timeout=30).returncode == 0
        messages = receive_all(receiver)
    assert messages[0] == b"READY=1"
    assert messages[-1] == b"STOPPING=1"
    assert messages.count(b"WATCHDOG=1") >= 4


def test_a_stopped_process_and_a_held_lock_starve_the_watchdog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as receiver:
        receiver.bind(str(path))
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        with InProcess() as stage:
            stage.expect("has not answered")
            watchdog = Watchdog(stage.compositor.server, 0.2)

            def feed_for(seconds: float) -> int:
                deadline = time.monotonic() + seconds
                while time.monotonic() < deadline:
                    watchdog.tick()
                    time.sleep(0.01)
                return receive_all(receiver).count(b"WATCHDOG=1")

            assert feed_for(0.5) >= 3
            with stage.compositor.locked():
                feed_for(0.1)  # an answer from before may be there still
                assert feed_for(0.4) == 0
            assert feed_for(0.5) >= 3
            assert [m for m in stage.log.messages(40) if "has not answered" in m]
            assert [m for m in stage.log.messages(30) if "answers again" in m]


def test_the_watchdog_is_for_the_process_that_systemd_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    assert interval_s() == 3.0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert interval_s() == 3.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert interval_s() == 0.0


def test_sighup_ends_it_as_a_terminal_that_goes_does(runtime_dir: Path) -> None:
    process = subprocess.Popen(
        [*MINICOMP, "run", "--backend", "headless", "--ready-fd", "1", "--", "sleep", "60"],
        env=environment(runtime_dir),
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 128 + signal.SIGTERM
