"""`minicomp top`: following a file that grows, the numbers on the screen, and the screen's size."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
from replay_traces import MS, record

from minicomp import cli
from minicomp.errors import MinicompError
from minicomp.lab.pipeline.runfile import RunFileError, RunWriter, read_run
from minicomp.lab.top import tail as tail_module
from minicomp.lab.top.command import heading
from minicomp.lab.top.screen import Heading, screen
from minicomp.lab.top.tail import Tail, wait_for_file
from minicomp.lab.top.view import View, build_view

HEADING = Heading("run.mct", "live", False, 0)


def view_of(path: Path) -> View:
    with Tail(path, 3600) as tail:
        tail.read()
        return build_view(tail.as_run())


def test_a_file_that_grows_byte_by_byte_is_read_chunk_by_chunk(tmp_path: Path) -> None:
    whole = record(tmp_path / "whole.mct", 6).read_bytes()
    growing = tmp_path / "growing.mct"
    growing.write_bytes(b"")
    with Tail(growing, 3600) as tail, growing.open("ab", buffering=0) as out:
        counts = []
        for place in range(0, len(whole), 23):
            out.write(whole[place : place + 23])
            counts.append(tail.read())
        assert sum(counts) == 5 and max(counts) == 1  # META, NAMES, two of RECORDS, END
        followed, read = tail.as_run(), read_run(tmp_path / "whole.mct")
        assert np.array_equal(followed.records, read.records) and np.array_equal(followed.sources, read.sources)
        assert followed.names == read.names and tail.end is not None
        assert tail.records_read == len(read.records)


def test_only_the_newest_seconds_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "long.mct"
    with RunWriter(path, {"pid": 1}) as writer:
        for second in range(10):
            writer.records(0, [(second * 1000 * MS + n, 0, 0, 0, 1, 0, 0) for n in range(1, 4)])
    with Tail(path, 2.5) as tail:
        tail.read()
        kept = tail.as_run().records["t_ns"]
        assert tail.records_read == 30
        assert kept.min() == 7000 * MS + 1 and len(kept) == 9


def test_too_many_records_are_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "MOST_RECORDS", 50)
    path = tmp_path / "busy.mct"
    with RunWriter(path, {"pid": 1}) as writer:
        for chunk in range(20):
            writer.records(0, [(chunk * 10 + n, 0, 0, 0, 1, 0, 0) for n in range(10)])
    with Tail(path, 3600) as tail:
        tail.read()
        assert len(tail.as_run().records) == 50


@pytest.mark.parametrize("content", [b"hello, I am no run file at all", b"MCT1" + b"\xff" * 40, b"\0" * 64])
def test_what_is_no_run_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with Tail(path, 10) as tail, pytest.raises(RunFileError, match="not a run file"):
        tail.read()


def test_it_waits_for_the_file_no_longer_than_told(tmp_path: Path) -> None:
    with pytest.raises(RunFileError, match=r"does not exist \(start the compositor with: minicomp run --trace"):
        wait_for_file(tmp_path / "none", 0.0)
    (tmp_path / "empty").touch()
    with pytest.raises(RunFileError, match="is empty"):
        wait_for_file(tmp_path / "empty", 0.06)
    wait_for_file(record(tmp_path / "run.mct", 1), 0.0)


def test_the_numbers_are_those_of_the_run(tmp_path: Path) -> None:
    view = view_of(record(tmp_path / "run.mct", 40))
    (output,) = view.outputs
    assert (output.name, output.mode, output.refresh_hz) == ("A", "640x480", 62.5)
    assert (output.frames, output.missed, output.judged) == (40, 4, 40)
    assert output.budget_ms == 4.0 and output.expected_cost_ms == 1.3 and output.margin_ms == pytest.approx(2.7)
    assert (output.latch_ms, output.latch_modelled) == (1.0, True)
    stages = dict(output.stages)
    assert stages["wake lateness"].p50 == stages["lock wait"].p50 == 0.1
    assert stages["compose"].max == 1.0 and stages["commit -> presented"].p50 == 16 + 4 - 2.35  # from its request
    assert [round(bar.late_refreshes or 0) for bar in output.bars[-11:]] == [1, *[0] * 9, 1]
    assert {bar.cost_ms for bar in output.bars} == {1.3}
    (lock,) = view.locks
    assert (lock.thread, lock.holder, lock.waits.count, lock.waits.max) == ("render", "loop", 40, 0.1)
    (client,) = view.clients
    assert (client.name, client.surfaces, client.response_ms, client.latency_ms) == ("pid 4321 pulse", 1, 1.0, 17.6)


def test_a_latch_that_is_not_modelled_is_at_most_the_least_slack(tmp_path: Path) -> None:
    (output,) = view_of(record(tmp_path / "run.mct", 12, latch_us=None)).outputs
    assert (output.latch_ms, output.latch_modelled) == (2.7, False)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (200, 60), (20, 3)])
@pytest.mark.parametrize("frames", [0, 1, 300])
def test_the_screen_fits_every_terminal(tmp_path: Path, width: int, height: int, frames: int) -> None:
    drawn = screen(view_of(record(tmp_path / "run.mct", frames)), HEADING, width, height, keys=True).plain
    lines = drawn.split("\n")
    assert len(lines) <= height and max(len(line) for line in lines) <= width
    assert lines[0].startswith("minicomp top") and lines[-1] == "q quits"


def test_at_80x24_everything_about_one_output_is_there(tmp_path: Path) -> None:
    drawn = screen(view_of(record(tmp_path / "run.mct", 300)), HEADING, 80, 24, keys=True).plain
    assert "missed 30/300 10.00 %" in drawn and "shown " in drawn
    assert "budget 4.000 = cost 1.300 + latch, safety 2.700 ms; latch 1.000 modelled" in drawn
    assert "pid 4321 pulse" in drawn and "mostly for loop" in drawn
    assert "more lines" not in drawn and "…" not in drawn
    shown = next(line for line in drawn.split("\n") if line.startswith("shown"))
    assert shown.endswith("·········1") and len(shown) == 80


def test_stepped_time_and_dropped_records_are_said(tmp_path: Path) -> None:
    stepped = screen(view_of(record(tmp_path / "run.mct", 5, clock="step")), HEADING, 80, 24, keys=False).plain
    assert "step clock" in stepped and "q quits" not in stepped
    dropped = Heading("run.mct", "live", False, 12)
    assert "12 records were dropped" in screen(view_of(tmp_path / "run.mct"), dropped, 80, 24, keys=False).plain


def test_it_says_why_the_file_does_not_grow(tmp_path: Path) -> None:
    def status(path: Path, age_s: float) -> str:
        os.utime(path, (time.time() - age_s, time.time() - age_s))
        with Tail(path, 10) as tail:
            tail.read()
            return heading(tail).status

    running = record(tmp_path / "running.mct", 3, ended=False, pid=os.getpid())
    assert status(running, 0) == "live"
    assert re.fullmatch(
        rf"the file has not grown for 3\d s: nothing happens \(pid {os.getpid()} is running\)", status(running, 30)
    )
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    killed = record(tmp_path / "killed.mct", 3, ended=False, pid=process.pid)
    assert f"pid {process.pid} is gone: it was killed" in status(killed, 30)
    assert "has ended" in status(record(tmp_path / "ended.mct", 3), 30)


def test_once_prints_one_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    assert cli.main(["top", "--once", str(record(tmp_path / "run.mct", 50))]) == 0
    lines = capsys.readouterr().out.rstrip("\n").split("\n")
    assert lines[0].startswith("minicomp top  run.mct   pid 1   headless, pixman, fixed") and len(lines) <= 24


def test_a_users_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(record(tmp_path / "run.mct", 1))
    for arguments, said in (
        ([path], "no terminal"),
        ([path, "--once", "--window", "0"], "--window"),
        ([str(tmp_path / "none"), "--once"], "does not exist"),
    ):
        assert cli.main(["top", *arguments]) == 2
        captured = capsys.readouterr()
        assert captured.out == "" and said in captured.err and captured.err.count("\n") == 1
    with pytest.raises(MinicompError):
        Tail(tmp_path / "none", 1)


@pytest.mark.timeout(60)
def test_on_a_terminal_it_follows_the_file_until_q(tmp_path: Path) -> None:
    """A terminal of 80x24: the second half of the file appears on the screen, q ends it, the terminal is given back."""
    whole = record(tmp_path / "whole.mct", 40, ended=False).read_bytes()
    names_end = whole.index(b"]", whole.index(b'"type":"output"')) + 1
    growing = tmp_path / "growing.mct"
    growing.write_bytes(whole[:names_end])
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-m", "minicomp", "top", str(growing), "--interval", "0.05"]
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment = {key: value for key, value in environment.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment)
    try:
        assert "No client committed anything." in read_until(ours, b"No client committed")
        with growing.open("ab") as out:
            out.write(whole[names_end:])
        assert "missed 4/40" in read_until(ours, b"pid 4321 pulse")
        os.write(ours, b"q")
        read_until(ours, b"\x1b[?1049l")
        assert process.wait(timeout=20) == 0
        assert termios.tcgetattr(theirs) == before
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def read_until(terminal: int, wanted: bytes) -> str:
    """What is written to the terminal, up to and with `wanted`."""
    seen = b""
    deadline_s = time.monotonic() + 25
    while wanted not in seen:
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline_s - time.monotonic()))
        assert ready, f"{wanted!r} did not appear in {seen[-2000:]!r}"
        seen += os.read(terminal, 65536)
    return seen.decode(errors="replace")
