"""Everything at once, in random order, in real time: clients that come, draw and die, monitors plugged and unplugged,
modes and pacing changed while frames are in flight, input, captures. Both ways of rendering must come through without an error in
the log, a leak or a deadlock, and a good client must get frames afterwards.

MINICOMP_CHAOS_STEPS sets the number of steps (tests/native/test_sanitizers.py runs 10,000 under AddressSanitizer).
"""

from __future__ import annotations

import os
import random
from contextlib import suppress
from typing import Any

import pytest

from minicomp.errors import MinicompError
from minicomp.testing.client import Client, Window
from minicomp.testing.instance import InProcess, configure

STEPS = int(os.environ.get("MINICOMP_CHAOS_STEPS", "1500"))
SIZES = [(640, 480, 60_000), (800, 600, 144_000), (320, 240, 240_000), (1024, 768, 30_000)]


class Chaos:
    """The random walk. Every step is one method, chosen by the seeded generator: a failure can be replayed."""

    def __init__(self, instance: InProcess, seed: int) -> None:
        self.instance = instance
        self.compositor = instance.compositor
        self.rng = random.Random(seed)
        self.clients: list[tuple[Client, list[Window]]] = []
        self.connectors = {1}
        self.steps = [
            (self.connect, 3),
            (self.disconnect, 2),
            (self.open_window, 4),
            (self.draw, 12),
            (self.ask, 3),
            (self.unmap, 1),
            (self.destroy_window, 1),
            (self.plug, 1),
            (self.unplug, 1),
            (self.configure_output, 1),
            (self.set_power, 1),
            (self.set_pacing, 1),
            (self.point, 4),
            (self.type, 2),
            (self.capture, 1),
            (self.fail_a_commit, 1),
        ]

    def run(self, steps: int) -> None:
        choices, weights = zip(*self.steps, strict=True)
        try:
            for _ in range(steps):
                step = self.rng.choices(choices, weights)[0]
                step()
                if self.rng.random() < 0.05:
                    self.instance.pump(0.001)
        finally:
            for client, _ in self.clients:
                client.close()

    def some_window(self) -> Window | None:
        windows = [window for _, windows in self.clients for window in windows]
        return self.rng.choice(windows) if windows else None

    def connect(self) -> None:
        if len(self.clients) < 8:
            # A monitor that goes away between its announcement and the bind is an error to libwayland once wlroots has
            # given up waiting for late binds, which a busy machine can outlast.
            with suppress(RuntimeError):
                self.clients.append((Client(self.compositor.socket), []))

    def disconnect(self) -> None:
        if self.clients:
            client, _ = self.clients.pop(self.rng.randrange(len(self.clients)))
            client.close()  # with windows mapped, buffers attached and callbacks asked for

    def open_window(self) -> None:
        if self.clients:
            client, windows = self.rng.choice(self.clients)
            if len(windows) < 6:
                window = Window(client, title="x" * self.rng.randrange(100))
                window.surface.commit()
                client.roundtrip()
                windows.append(window)

    def draw(self) -> None:
        window = self.some_window()
        if window is not None:
            window.client.roundtrip()
            if window.configures:
                width, height = self.rng.randrange(1, 300), self.rng.randrange(1, 300)
                window.commit(width, height, self.rng.randrange(0x1000000), damage=self.rng.random() < 0.9)
                window.client.display.flush()

    def ask(self) -> None:
        window = self.some_window()
        if window is not None and window.configures:
            window.commit_only()
            window.client.display.flush()

    def unmap(self) -> None:
        window = self.some_window()
        if window is not None and window.configures:
            window.surface.attach(None, 0, 0)
            window.surface.commit()
            window.configures.clear()
            window.surface.commit()
            window.client.roundtrip()

    def destroy_window(self) -> None:
        window = self.some_window()
        if window is not None:
            for _, windows in self.clients:
                if window in windows:
                    windows.remove(window)
            window.toplevel.destroy()
            window.xdg_surface.destroy()
            window.surface.destroy()
            window.client.roundtrip()

    def plug(self) -> None:
        free = [connector for connector in (1, 2, 3) if connector not in self.connectors]
        if free:
            connector = self.rng.choice(free)
            self.compositor.plug(*self.rng.choice(SIZES), connector=connector)
            self.connectors.add(connector)

    def unplug(self) -> None:
        if self.connectors:
            connector = self.rng.choice(sorted(self.connectors))
            self.compositor.unplug(connector)
            self.connectors.remove(connector)

    def configure_output(self) -> None:
        from minicomp.config import OutputSettings

        for output in self.compositor.outputs:
            settings = OutputSettings(
                mode=self.rng.choice(["preferred", "500x400@75", "640x480@60"]),
                scale=self.rng.choice([1.0, 1.5, 2.0]),
                transform=self.rng.choice(["normal", "90", "180", "flipped-270"]),
                enabled=self.rng.random() < 0.8,
            )
            self.compositor.outputs.configure(output.handle, settings)

    def set_power(self) -> None:
        for output in self.compositor.outputs:
            self.compositor.outputs.set_power(output.handle, self.rng.random() < 0.7)

    def set_pacing(self) -> None:
        lib = self.compositor.lib
        lib.mc_server_set_pacing(self.compositor.server, self.rng.randrange(3), 4_000_000, 0.001)

    def point(self) -> None:
        inject = self.compositor.lib
        server = self.compositor.server
        inject.mc_inject_motion(server, self.rng.uniform(0, 1500), self.rng.uniform(0, 900))
        if self.rng.random() < 0.5:
            inject.mc_inject_button(server, 0x110, True)
            inject.mc_inject_button(server, 0x110, False)

    def type(self) -> None:
        key = self.rng.randrange(2, 50)
        self.compositor.lib.mc_inject_key(self.compositor.server, key, True)
        self.compositor.lib.mc_inject_key(self.compositor.server, key, False)

    def capture(self) -> None:
        with suppress(MinicompError):  # no output is on, or it went away meanwhile
            self.compositor.capture(timeout_s=0.2)

    def fail_a_commit(self) -> None:
        # Of monitors that are set up: one that refuses its first mode stays off, which is an error for the log.
        configured = self.instance.dispatcher.configured
        names = {output.name for output in self.compositor.outputs if output.handle in configured}
        for connector in (connector for connector in self.connectors if f"HEADLESS-{connector}" in names):
            vblanks, count = self.rng.randrange(3), self.rng.randrange(3)
            self.compositor.lib.mc_vdisplay_inject_fault(self.compositor.server, connector, vblanks, count)


@pytest.mark.parametrize("thread", [True, False], ids=["render-thread", "loop-thread"])
@pytest.mark.parametrize("policy", ["kiosk", "stacking"])
def test_chaos(thread: bool, policy: str) -> None:
    config = configure(headless__outputs=["640x480@60"], render__thread=thread, policy__name=policy)
    with InProcess(config) as instance:
        chaos = Chaos(instance, seed=STEPS + thread)
        chaos.run(STEPS)
        instance.settle()
        assert_frames_flow(instance)


def assert_frames_flow(instance: InProcess) -> None:
    """A new client on a plugged-in monitor is shown."""
    compositor = instance.compositor
    if not any(output.enabled for output in compositor.outputs):
        for output in compositor.outputs:
            compositor.outputs.set_enabled(output.handle, True)
        if not list(compositor.outputs):
            compositor.plug(640, 480, 60_000)
        instance.wait_for(lambda: any(output.enabled for output in compositor.outputs), "an output")
    with Client(compositor.socket) as client:
        window = Window(client)

        def wait(condition: Any, what: str) -> Any:
            return instance.wait_for(condition, what)

        window.initial_commit(wait)
        window.commit(100, 100, 0x123456)

        def shown() -> bool:
            client.roundtrip()
            return any(not p.discarded for p in window.presented)

        instance.wait_for(shown, "a frame after the chaos")
