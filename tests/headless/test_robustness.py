"""One client's mistake, or a policy that hangs, costs nobody else a frame."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from minicomp.shell.policy import Policy
from minicomp.testing.instance import InProcess, configure
from tests.headless.conftest import CLIENTS


def scenarios() -> list[str]:
    listing = subprocess.run([CLIENTS / "hostile", "--list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listing.splitlines() if line and not line.startswith(("SCENARIO", "-", " "))]


def frames(log: Path) -> list[dict[str, Any]]:
    """Those of which the log has the whole line; it may still be written."""
    lines = log.read_text().split("\n")[:-1]
    return [record for record in map(json.loads, lines) if record["type"] == "frame"]


@pytest.mark.parametrize("scenario", scenarios())
def test_a_hostile_client_leaves_others_alone(scenario: str, tmp_path: Path) -> None:
    """A good client presents frames before, during and after; the compositor logs no error of its own."""
    log = tmp_path / "pulse.jsonl"
    with InProcess(configure(headless__outputs=["640x480@120"], policy__name="stacking")) as instance:
        instance.expect(r"^minicomp\.wlroots: ")  # wlroots calls clients' faults errors
        good = instance.launch([str(CLIENTS / "pulse"), "--log", str(log), "--quiet", "--size", "200x150"])
        instance.pump(0.3)
        hostile = instance.launch(
            [str(CLIENTS / "hostile"), scenario], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 4
        while hostile.poll() is None and time.monotonic() < deadline:
            instance.pump(0.05)
        if hostile.poll() is None:
            hostile.kill()
        hostile.wait()
        before = time.monotonic_ns()

        def goes_on() -> bool:
            instance.pump(0.05)
            return sum(frame["presented_ns"] > before for frame in frames(log)) >= 10

        instance.wait_for(goes_on, f"ten frames of the good client after {scenario}")
        assert good.poll() is None, "the good client died"
        good.terminate()
        instance.wait_for(lambda: good.poll() is not None, "pulse to end")
        assert instance.dispatcher.errors == 0


class Stuck(Policy):
    """Shows windows, and never returns once told to hang."""

    hang_s = 2.0
    hung = False

    def on_window_new(self, window: Any) -> None:
        window.configure(0, 0)

    def on_window_map(self, window: Any) -> None:
        window.place(0, 0)
        window.show()

    def on_window_title(self, window: Any) -> None:
        if window.title == "hang":
            type(self).hung = True
            time.sleep(self.hang_s)


class Spinning(Stuck):
    def on_window_title(self, window: Any) -> None:
        if window.title == "hang":
            type(self).hung = True
            end = time.monotonic() + self.hang_s
            while time.monotonic() < end:
                pass


@pytest.mark.parametrize("policy", [Stuck, Spinning])
def test_a_stuck_policy_costs_no_frames(policy: type[Stuck], tmp_path: Path) -> None:
    """A policy that sleeps or spins for 2 s inside a callback: a client goes on at full rate, and the log says so."""
    from minicomp.testing.client import Client, Window

    policy.hung = False
    log = tmp_path / "pulse.jsonl"
    with InProcess(configure(headless__outputs=["640x480@60"]), policy=policy) as instance:
        pulse = instance.launch([str(CLIENTS / "pulse"), "--log", str(log), "--quiet", "--size", "200x150"])
        instance.pump(0.5)
        with Client(instance.compositor.socket) as client:
            window = Window(client)
            window.initial_commit(lambda condition, what: instance.wait_for(condition, what))
            window.toplevel.set_title("hang")
            client.roundtrip()
            instance.wait_for(lambda: policy.hung, "the policy to hang")
            begin_ns = time.monotonic_ns()
            instance.pump(1.6)
            end_ns = time.monotonic_ns()
        pulse.terminate()
        instance.wait_for(lambda: pulse.poll() is not None, "pulse to end")
        instance.pump(0.8)
        shown = [frame for frame in frames(log) if begin_ns < frame["presented_ns"] < end_ns]
        # Full rate is 96 in 1.6 s. A busy machine has less; a policy on the frame path would leave none.
        assert len(shown) > 16
        assert any("policy is stuck" in m and "on_window_title" in m for m in instance.log.messages())
        assert any("policy has returned" in m for m in instance.log.messages())


def test_a_policy_that_raises_is_logged_and_survived() -> None:
    class Broken(Policy):
        def on_window_new(self, window: Any) -> None:
            raise RuntimeError("broken on purpose")

    with pytest.raises(AssertionError, match="policy code raised"):
        with InProcess(policy=Broken) as instance:
            instance.expect(r"on_window_new failed")
            pulse = instance.launch([str(CLIENTS / "pulse"), "--frames", "10", "--quiet"])
            instance.wait_for(lambda: instance.dispatcher.errors > 0, "the error to be counted")
            pulse.terminate()
