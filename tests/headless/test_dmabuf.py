"""Our linux-dmabuf where no dma-buf can be allocated: what is offered, and every refusal. Good buffers: tests/vm.

Refused memory is as good as any to see that fds are closed: params take whatever fd they are given, and look at it
when a buffer is asked for.
"""

from __future__ import annotations

import json
import os
import resource
import select
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pywayland.protocol.linux_dmabuf_unstable_v1 import ZwpLinuxDmabufV1

from minicomp.testing.client import Client
from minicomp.testing.instance import InProcess, configure
from tests.headless.conftest import CLIENTS

DMABUF = str(CLIENTS / "dmabuf")
LINEAR, INVALID = 0, (1 << 56) - 1
FORMATS = {"XR24", "AR24", "XB24", "AB24", "RG16"}


def scenarios() -> list[str]:
    """Those that need no dma-buf."""
    listing = subprocess.run([DMABUF, "--list"], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines()[1:]]
    return [row[0] for row in rows if row[1] == "-"]


def counts(instance: InProcess) -> Any:
    counts = instance.compositor.ffi.new("struct mc_dmabuf_counts *")
    instance.compositor.lib.mc_dmabuf_get_counts(instance.compositor.server, counts)
    return counts


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def misbehave(instance: InProcess, scenario: str) -> int:
    """Runs a scenario to its end; 0: answered as expected."""
    process = instance.launch([DMABUF, "--bad", scenario], stdout=subprocess.DEVNULL)
    return int(instance.wait_for(lambda: process.poll() is not None and [process.poll()], scenario)[0])


def presented(log: Path) -> int:
    return log.read_text().count('"presented_ns":') - log.read_text().count('"presented_ns":0,')


@pytest.fixture
def instance() -> Iterator[InProcess]:
    settings = {"headless__outputs": ["640x480@120"], "policy__name": "stacking", "limits__fds_per_client": 256}
    with InProcess(configure(**settings)) as running:
        yield running


def offer(instance: InProcess, *options: str) -> list[dict[str, Any]]:
    code, text = instance.run([DMABUF, "--pairs", *options])
    assert code == 0, text
    return [json.loads(line) for line in text.splitlines()]


def test_linear_rgb_is_offered_without_a_device(instance: InProcess) -> None:
    """Version 3: feedback (4) must name a device, and there is none."""
    first, *pairs = offer(instance)
    assert (first["version"], first["main_device"]) == (3, 0)
    assert {(pair["fourcc"], pair["modifier"]) for pair in pairs} == {
        (fourcc, modifier) for fourcc in FORMATS for modifier in (LINEAR, INVALID)
    }
    assert len(pairs) == 2 * len(FORMATS)


def test_clients_without_modifiers_are_told_formats(instance: InProcess) -> None:
    first, *pairs = offer(instance, "--version", "2")
    assert first["version"] == 2
    assert {(pair["fourcc"], pair["modifier"]) for pair in pairs} == {(fourcc, INVALID) for fourcc in FORMATS}


@pytest.mark.parametrize("scenario", scenarios())
def test_bad_params_are_answered_as_the_protocol_says(instance: InProcess, tmp_path: Path, scenario: str) -> None:
    """The answer, no fd kept, and another client's frames go on."""
    log = tmp_path / "pulse.jsonl"
    good = instance.launch([str(CLIENTS / "pulse"), "--log", str(log), "--quiet", "--size", "200x150"])
    instance.wait_for(lambda: log.exists() and presented(log) > 0, "the first frames")
    misbehave(instance, "not-a-dmabuf")  # what is made for the first such client stays
    before = open_fds()
    assert misbehave(instance, scenario) == 0
    # The client's connection may be taken down a moment after its process has ended.
    instance.wait_for(lambda: counts(instance).held_fds == 0 and open_fds() <= before, "the fds to be closed")
    assert counts(instance).buffers == 0
    shown = presented(log)
    instance.wait_for(lambda: presented(log) >= shown + 10, "ten more frames of the other client")
    assert good.poll() is None


def test_ten_thousand_fds_are_cut_off_early(instance: InProcess) -> None:
    """By limits.fds_per_client, 256: what a client holds and what it sends in a second."""
    before, most = open_fds(), 0
    flood = instance.launch([DMABUF, "--bad", "many-fds"], stdout=subprocess.PIPE)
    while flood.poll() is None:
        instance.pump(0.002)
        most = max(most, open_fds())
    assert flood.stdout is not None
    with flood.stdout as out:
        assert json.loads(out.read())["verdict"] == "killed"
    assert most <= before + 256 + 64  # libwayland reads up to 28 fds at a time
    assert any("fds_per_client" in message for message in instance.log.messages())


def hangs_up(fd: int) -> bool:
    """Whether the compositor has closed a client's connection."""
    poller = select.poll()
    poller.register(fd, 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poller.poll(0))


class LinuxDmabuf:
    """A connection that fills params with copies of one memfd and never makes a buffer of them."""

    def __init__(self, instance: InProcess) -> None:
        self._client = Client(instance.compositor.socket)
        name, version = self._client.globals["zwp_linux_dmabuf_v1"]
        self._manager = self._client.registry.bind(name, ZwpLinuxDmabufV1, version)
        self._memory = os.memfd_create("held")
        self._params: list[Any] = []

    def __enter__(self) -> LinuxDmabuf:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._memory)
        self._client.close()

    @property
    def dead(self) -> bool:
        return hangs_up(self._client.fd)

    def add_params(self, fds: int) -> None:
        for index in range(fds):
            if index % 2 == 0:
                self._params.append(self._manager.create_params())
            self._params[-1].add(self._memory, index % 2, 0, 256, 0, 0)
        self._client.display.flush()


def test_held_fds_count_however_slowly_they_come() -> None:
    """10 fds a second stay below the rate of 16, but they are all still held."""
    with InProcess(configure(limits__fds_per_client=16)) as instance:
        with LinuxDmabuf(instance) as client:
            for second in range(2):
                client.add_params(10)
                instance.wait_for(lambda: client.dead or counts(instance).held_fds >= 10, "the fds to arrive")
                if second == 0:
                    assert not client.dead and counts(instance).held_fds == 10
                    instance.pump(1.1)
            instance.wait_for(lambda: client.dead, "the client to be disconnected")
        instance.wait_for(lambda: counts(instance).held_fds == 0, "the fds to be closed")
        assert any("too many file descriptors in use" in message for message in instance.log.messages())


def test_when_fds_run_out_the_greediest_client_goes() -> None:
    """Many clients below their own limit together reach the process's; the one that holds the most pays, at once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with InProcess(configure(limits__fds_per_client=4096)) as instance:
        resource.setrlimit(resource.RLIMIT_NOFILE, (456, hard))
        try:
            with LinuxDmabuf(instance) as modest, LinuxDmabuf(instance) as greedy:
                greedy.add_params(120)
                modest.add_params(60)
                instance.wait_for(lambda: counts(instance).held_fds == 180, "the fds to arrive")
                assert not greedy.dead and not modest.dead
                # It is the modest one whose request crosses the line; the greedy one sends nothing any more.
                modest.add_params(30)
                instance.wait_for(lambda: greedy.dead, "the greediest's connection to be closed")
                instance.wait_for(lambda: counts(instance).held_fds == 90, "what the other one holds")
                assert not modest.dead
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_commits_that_wait_are_not_kept_without_end() -> None:
    """As they do behind a buffer that is never written to its end; here behind a parent that never commits."""
    with InProcess(configure()) as instance, Client(instance.compositor.socket) as client:
        compositor, subcompositor = client.bound["wl_compositor"], client.bound["wl_subcompositor"]
        parent, child = compositor.create_surface(), compositor.create_surface()
        subcompositor.get_subsurface(child, parent)
        batches = 0
        with suppress(RuntimeError):  # disconnected
            while batches < 20:
                batches += 1
                for _ in range(500):
                    child.damage(0, 0, 1, 1)
                    child.commit()
                client.roundtrip()
        assert batches == 17, "8192 may wait"
        instance.pump(0.05)  # for the log
        assert any("too many commits that wait" in message for message in instance.log.messages())
