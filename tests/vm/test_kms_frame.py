"""A whole frame on KMS: a dma-buf by SCM_RIGHTS, EGL, an atomic commit, the vblank, the page-flip event, the callback."""

from __future__ import annotations

from pathlib import Path

import pytest
from vmlab import Guest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

GLES2 = {"WLR_RENDERER": "gles2", "LP_NUM_THREADS": "0", "WLR_RENDERER_ALLOW_SOFTWARE": "1"}
CLIENT = "build/clients/dmabuf --allocator dumb --size 640x400 --frames 40 --hold-s 0.5 --quiet"
IN_ORDER = (
    "recvmsg + SCM_RIGHTS",
    "epoll_wait returns",
    "wl_surface.commit",
    "commit applied, buffer imported",
    "the output needs a frame",
    "composed",
    "minicomp -> Kernel    atomic commit",
    "vblank: the frame is shown",
    "page-flip event",
)
# Planned from the client's response: before the flip when composing took longer than a refresh, as in emulation it may.
CALLBACK = "wl_callback.done"


def test_a_frame_through_dmabuf_egl_and_kms(guest: Guest, tmp_path: Path) -> None:
    run = f".venv/bin/minicomp run --backend drm --trace /tmp/frame.mct -- {CLIENT}"
    done = guest.run(run, env=GLES2, timeout_s=120)
    assert done.code == 0, done.err
    drawn = "--svg /tmp/frame.svg --mermaid /tmp/frame.mmd"
    shown = guest.run(f".venv/bin/minicomp trace frame /tmp/frame.mct {drawn}", timeout_s=60)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    places = [next(at for at, line in enumerate(lines) if words in line) for words in IN_ORDER]
    assert places == sorted(places), shown.out
    assert CALLBACK in shown.out
    first = guest.run(".venv/bin/minicomp trace dump /tmp/frame.mct", timeout_s=60).out
    assert "FD_RECEIVED" in first
    mermaid, svg = guest.run("cat /tmp/frame.mmd").out, guest.run("cat /tmp/frame.svg").out
    (tmp_path / "frame.mmd").write_text(mermaid)
    (tmp_path / "frame.svg").write_text(svg)
    assert mermaid.startswith("sequenceDiagram") and "atomic commit" in mermaid
    assert "</svg>" in svg and "atomic commit" in svg


def test_the_probes_that_need_a_display(guest: Guest) -> None:
    probes = "bpf-vblank bpf-drm-ioctls bpf-cgroup-device bpf-sched-switch"
    run = f".venv/bin/minicomp run --backend drm -- .venv/bin/minicomp lab probe {probes} --quick"
    done = guest.run(run, timeout_s=200)
    assert done.code == 0, done.out + done.err
    assert "FAILED" not in done.out and "does not" not in done.out.split("statements:")[0], done.out
    print(done.out)
