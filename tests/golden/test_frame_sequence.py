"""`minicomp trace frame` on a golden trace: exactly these steps, drawn in three ways."""

from __future__ import annotations

import xml.etree.ElementTree
from pathlib import Path

import pytest
from scenarios import MS, SCENARIOS, Output, Trace, asap_frames, surface_entry

from minicomp import cli
from minicomp.errors import ExitCode
from minicomp.lab.pipeline.points import Point

EXPECTED = """\
frame 3 of HEADLESS-1, pulse
  0.000 ms  Kernel -> minicomp    epoll_wait returns (socket readable)
  0.009 ms  Client -> minicomp    wl_surface.commit
  0.033 ms  minicomp              commit applied, buffer imported (24 us)
  0.036 ms  minicomp              the output needs a frame
  0.053 ms  Kernel -> minicomp    timer: time to compose
  0.061 ms  minicomp              lock taken (5 us)
  1.054 ms  minicomp              composed (991 us)
  1.056 ms  minicomp -> Kernel    commit
  1.086 ms  Kernel -> minicomp    accepted (30 us)
 12.799 ms  Kernel                vblank: the frame is shown
 12.814 ms  Kernel -> minicomp    page-flip event
 14.799 ms  minicomp -> Client    wl_callback.done (sendmsg)
"""


def test_the_frame_of_a_golden_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = SCENARIOS["asap_60hz"](tmp_path / "run.mct")
    svg, mermaid = tmp_path / "frame.svg", tmp_path / "frame.mmd"
    assert cli.main(["trace", "frame", str(file), "--frame", "3", "--svg", str(svg), "--mermaid", str(mermaid)]) == 0
    assert capsys.readouterr().out == EXPECTED
    texts = [element.text for element in xml.etree.ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")]
    lines = mermaid.read_text().splitlines()
    assert lines[0] == "sequenceDiagram"
    for line in EXPECTED.splitlines()[1:]:
        words = line[34:].strip()
        assert words in texts
        assert any(drawn.endswith(words) for drawn in lines), words


def test_a_frame_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = SCENARIOS["asap_60hz"](tmp_path / "run.mct")
    assert cli.main(["trace", "frame", str(file), "--frame", "99999"]) == ExitCode.USAGE
    assert "no such frame" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--svg", "--mermaid"])
def test_a_file_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str) -> None:
    file, out = SCENARIOS["asap_60hz"](tmp_path / "run.mct"), tmp_path / "no such folder" / "frame"
    assert cli.main(["trace", "frame", str(file), "--frame", "3", option, str(out)]) == ExitCode.UNAVAILABLE
    said = capsys.readouterr().err
    assert str(out) in said and said.count("\n") == 1


@pytest.mark.parametrize(("pid", "shown"), [(5007, True), (1, False)])
def test_the_buffers_descriptor_came_before_the_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], pid: int, shown: bool
) -> None:
    """A line before the frame's first, with a negative time; another client's descriptors are not shown."""
    trace, output = Trace(), Output()
    asap_frames(trace, output, 7, 20)
    trace.add(output.vblank_ns(0) + MS, Point.FD_RECEIVED, arg=2, surface=3)
    client = {"type": "client", "id": 3, "name": "client 3", "pid": pid}
    file = trace.write(tmp_path / "run.mct", [output.entry, surface_entry(7, "pulse"), client])
    assert cli.main(["trace", "frame", str(file), "--frame", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    words = "Kernel -> minicomp    recvmsg + SCM_RIGHTS (2 descriptors), once"
    assert [line.strip().startswith("-") and line.endswith(words) for line in lines[1:3]] == [shown, False]
    assert any(line.startswith("  0.000 ms") or "  0.000 ms  " in line for line in lines)
