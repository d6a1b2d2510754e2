"""Whatever happens, nothing is left: fds, threads, children, sockets and memory are counted.

A start-up failure is made by letting one call fail where it is made; everything before it and the undoing are real.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from minicomp.compositor import backend as backends
from minicomp.compositor import globals as global_objects
from minicomp.compositor import seat as seats
from minicomp.compositor import server as servers
from minicomp.errors import MinicompError
from minicomp.testing.client import Client, Window
from minicomp.testing.instance import InProcess, configure
from tests.headless.programs import shown_window, start


@pytest.fixture(autouse=True)
def runtime_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory of our own; afterwards it must be empty again, and no child be there."""
    folder = tmp_path / "runtime"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    assert list(folder.iterdir()) == [], "left in XDG_RUNTIME_DIR"
    children = "".join((task / "children").read_text() for task in Path("/proc/self/task").iterdir())
    assert children.strip() == "", "children were left"


class Failing:
    """A cffi lib of which one function fails."""

    def __init__(self, lib: Any, name: str, result: object) -> None:
        assert hasattr(lib, name)
        self.lib, self.name, self.result = lib, name, result
        self.called = 0

    def __getattr__(self, name: str) -> Any:
        if name == self.name:
            return self._fail
        return getattr(self.lib, name)

    def _fail(self, *arguments: object) -> object:
        self.called += 1
        if self.name == "mc_loop_start":
            os.close(arguments[1])  # type: ignore[arg-type]  # it takes the fd over, also when it fails
        return self.result


NULL = servers.ffi.NULL
SERVER_STEPS = [
    ("lib", "mc_log_init", NULL),
    ("lib", "mc_server_create", NULL),
    ("wayland", "wl_display_create", NULL),
    ("lib", "mc_dmabuf_create", -12),
    ("lib", "mc_frame_allocator_create", NULL),
    ("wlr", "wlr_compositor_create", NULL),
    ("wlr", "wlr_scene_create", NULL),
    ("wlr", "wlr_output_layout_create", NULL),
    ("wlr", "wlr_scene_attach_output_layout", False),
    ("wlr", "wlr_cursor_create", NULL),
    ("wlr", "wlr_seat_create", NULL),
    ("lib", "mc_presentation_create", -12),
    ("lib", "mc_server_attach", -12),
    ("lib", "mc_server_set_pacing", -22),
    ("lib", "mc_render_start", -11),
    ("wayland", "wl_display_add_socket_auto", NULL),
    ("lib", "mc_vdisplay_plug", -12),
    ("wlr", "wlr_backend_start", False),
    ("wlr", "wlr_xwayland_create", NULL),
    ("lib", "mc_xwayland_attach", -12),
    ("lib", "mc_loop_start", -11),
]
BACKEND_STEPS = [("lib", "mc_vdisplay_create", NULL), ("lib", "mc_pixman_renderer_create", NULL)]
GLOBAL_STEPS = [
    ("wlr", name, NULL)
    for name in (
        "wlr_data_device_manager_create",
        "wlr_primary_selection_v1_device_manager_create",
        "wlr_data_control_manager_v1_create",
        "wlr_viewporter_create",
        "wlr_screencopy_manager_v1_create",
        "wlr_export_dmabuf_manager_v1_create",
        "wlr_gamma_control_manager_v1_create",
        "wlr_xdg_output_manager_v1_create",
        "wlr_xdg_shell_create",
        "wlr_layer_shell_v1_create",
        "wlr_xdg_decoration_manager_v1_create",
        "wlr_server_decoration_manager_create",
        "wlr_foreign_toplevel_manager_v1_create",
        "wlr_output_power_manager_v1_create",
        "wlr_output_manager_v1_create",
        "wlr_idle_create",
        "wlr_idle_inhibit_v1_create",
    )
] + [
    ("lib", name, -12)
    for name in (
        "mc_xdg_shell_attach",
        "mc_layer_shell_attach",
        "mc_decoration_attach",
        "mc_foreign_toplevel_attach",
        "mc_activation_create",
        "mc_output_power_attach",
        "mc_output_management_attach",
        "mc_idle_attach",
        "mc_seat_create_globals",
        "mc_clients_add_rule",
    )
]
SEAT_STEPS = [("lib", "mc_seat_set_xkb_names", -22), ("lib", "mc_seat_set_cursor_theme", -12)]
STEPS = [
    *((servers, *step) for step in SERVER_STEPS),
    *((backends, *step) for step in BACKEND_STEPS),
    *((global_objects, *step) for step in GLOBAL_STEPS),
    *((seats, *step) for step in SEAT_STEPS),
]


@pytest.mark.parametrize(("module", "lib", "name", "result"), STEPS, ids=[step[2] for step in STEPS])
def test_a_start_that_fails_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, module: Any, lib: str, name: str, result: object
) -> None:
    failing = Failing(getattr(module, lib), name, result)
    monkeypatch.setattr(module, lib, failing)
    if module is servers and lib == "lib":
        monkeypatch.setattr(servers.Compositor, "lib", failing)
    compositor = servers.Compositor(configure(backend__xwayland=True, render__thread=True))
    try:
        with pytest.raises((MinicompError, MemoryError)) as caught:
            compositor.start()
    finally:
        compositor.close()
    assert failing.called == 1
    assert str(caught.value)
    compositor.close()  # once more does no harm


def test_a_policy_that_cannot_start_leaves_nothing(runtime_dir: Path) -> None:
    class Refusing:
        def __init__(self, *arguments: object) -> None:
            raise MinicompError("no policy today")

    with pytest.raises(MinicompError, match="no policy today"):
        InProcess(policy=Refusing).__enter__()


def resident_kib() -> int:
    gc.collect()
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(fields["VmRSS"].split()[0])


def test_started_and_stopped_thirty_times(runtime_dir: Path) -> None:
    """With a client that is still connected at the end of each; memory stops growing after the first few."""
    sizes: list[int] = []
    fds: list[int] = []
    for _ in range(30):
        with ExitStack() as later, InProcess(configure(headless__outputs=["320x240@240"])) as instance:
            client = later.enter_context(Client(instance.compositor.socket))
            window = Window(client)
            width, height = window.initial_commit(instance.wait_for)
            window.commit(width, height, 0x123456)
            client.roundtrip()
            shown_window(instance)
        del client, window, instance, later
        sizes.append(resident_kib())
        fds.append(len(os.listdir("/proc/self/fd")))
    assert len(set(fds[1:])) == 1, fds
    # 20 starts: what one leaks for good would show twenty times. The allocators' own noise is below 1 MiB.
    assert sizes[-1] - sizes[9] < 1024, sizes


@pytest.mark.parametrize("what", ["closed", "killed", "never mapped"])
def test_the_end_comes_while_clients_are_busy(runtime_dir: Path, what: str) -> None:
    from tests.headless.conftest import CLIENTS

    with InProcess(configure(policy__name="stacking")) as instance:
        processes = [start(instance, CLIENTS / "pulse", "--quiet", "--size", "100x80") for _ in range(4)]
        instance.wait_for(lambda: sum(w.mapped for w in instance.dispatcher.windows) == 4, "four windows")
        if what == "killed":
            for process in processes:
                process.kill()
        elif what == "never mapped":
            processes += [start(instance, CLIENTS / "pulse", "--quiet") for _ in range(4)]


def test_wl_copy_ends_with_the_compositor(runtime_dir: Path) -> None:
    """It serves the clipboard from a background process that is nobody's child."""
    with InProcess() as instance:
        instance.run(["sh", "-c", "wl-copy text > /dev/null 2>&1; sleep 0.2"])
        copies = background("wl-copy", runtime_dir)
        assert copies
    deadline: Callable[[], bool] = lambda: not background("wl-copy", runtime_dir)  # noqa: E731
    for _ in range(100):
        if deadline():
            break
        subprocess.run(["sleep", "0.02"], check=True)
    assert deadline()


def background(name: str, runtime_dir: Path) -> list[int]:
    """Living processes of that name which belong to this test."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().strip() == name and str(runtime_dir) in (process / "environ").read_text():
                found.append(int(process.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def test_a_start_that_fails_as_a_program(runtime_dir: Path) -> None:
    """An output that cannot be modelled: one line, the documented exit code, nothing left behind."""
    result = subprocess.run(
        [sys.executable, "-m", "minicomp", "run", "--backend", "headless", "--set", "headless.latch_us=999999", "--",
         "true"],
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert result.returncode == 2, result.stderr
    assert "latch_us" in result.stderr and len(result.stderr.splitlines()) == 1
