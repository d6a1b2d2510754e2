"""`minicomp lab replay` as a user calls it, on a constructed run file; and the CSV's margin, of the same facts."""

from __future__ import annotations

import csv
import io
import json
import struct
from pathlib import Path
from xml.etree import ElementTree

import pytest
from replay_traces import MS, US, record

from minicomp import cli
from minicomp.lab.pipeline.runfile import read_run
from minicomp.lab.report.csv_export import write_csv


@pytest.fixture
def trace(tmp_path: Path) -> str:
    return str(record(tmp_path / "run.mct", 40))


def replay(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["lab", "replay", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_json_tells_the_recording_and_each_policy(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _err = replay(capsys, trace, "--policy", "asap, fixed:4ms,sway:4/4,asap", "--json", "--warm-up", "8")
    assert code == 0
    (output,) = json.loads(out)["outputs"]
    assert (output["output"], output["refresh_hz"], output["surfaces"]) == ("A", 62.5, 1)
    assert output["latch"] == {"ns": MS, "source": "modelled", "low_ns": 0, "high_ns": 0}
    recorded = output["recorded"]
    # 40 frames, every tenth a refresh late; without the first 8 that is 4 of 32.
    assert recorded["missed"]["hits"] == 4 and recorded["missed"]["trials"] == 32
    assert recorded["missed"]["rate"] == 0.125
    assert recorded["commit_to_presented"]["ms"]["p50"] == 16 + 4 - 2.4
    assert [one["policy"] for one in output["policies"]] == ["asap", "fixed:4ms", "sway:4/4"]
    asap = output["policies"][0]
    # Told 0.05 ms after the vblank, 1.3 ms to the commit, 1 ms for the answer, shown at the vblank after the next.
    assert asap["commit_to_presented"]["ms"]["p50"] == 32 - 2.35
    assert asap["commit_to_presented"]["refreshes"]["p50"] == pytest.approx((32 - 2.35) / 16, abs=1e-6)
    assert asap["callback_to_presented"]["ms"]["p50"] == 32 - 1.35
    assert asap["missed"] == {"hits": 0, "trials": 32, "rate": 0.0, "rate_95": asap["missed"]["rate_95"]}
    assert output["pareto_front"] == ["fixed:4ms"]


def test_text_has_one_row_a_policy(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _err = replay(capsys, trace, "--policy", "asap,adaptive,kwin", "--latch-us", "500")
    assert code == 0
    assert "Latch 0.500 ms (given)" in out and "62.500 Hz" in out
    rows = {
        line.split()[0]: line.split() for line in out.splitlines() if line.startswith(("asap", "adap", "kwin", "("))
    }
    assert list(rows) == ["(recorded)", "asap", "adaptive", "kwin"]
    assert rows["asap"][1] == "29.650" and rows["(recorded)"][9] == "4"


def test_every_policy_is_replayed_when_none_is_named(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    _code, out, _err = replay(capsys, trace, "--json")
    names = [one["policy"] for one in json.loads(out)["outputs"][0]["policies"]]
    assert {"asap", "adaptive", "kwin", "mutter", "gamescope", "weston", "sway"} <= set(names)


def test_the_plot_is_a_picture_of_all_policies(trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    png, svg = tmp_path / "out.png", tmp_path / "out.svg"
    code, _out, err = replay(capsys, trace, "--policy", "asap,sway:4/4", "--plot", str(png))
    assert (code, err) == (0, f"{png}: written\n")
    width, height = struct.unpack(">II", png.read_bytes()[16:24])
    assert png.read_bytes().startswith(b"\x89PNG") and width > 800 and height > 500
    assert replay(capsys, trace, "--policy", "asap,sway:4/4", "--plot", str(svg))[0] == 0
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    for name in ("asap", "sway:4/4", "(recorded)"):
        assert f"<!-- {name} -->" in svg.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--policy", "asap,fifo"], "no policy 'fifo'"),
        (["--policy", ","], "no policy given"),
        (["--target-miss-rate", "0"], "not between 0 and 1"),
        (["--target-miss-rate", "nan"], "not between 0 and 1"),
        (["--warm-up", "-1"], "cannot be negative"),
        (["--output", "B"], "no output 'B' showed anything"),
        (["--plot", "x.bmp"], "not a kind of picture"),
    ],
)
def test_a_users_mistake_is_one_line(
    trace: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = replay(capsys, trace, *arguments)
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1


def test_a_cut_off_file_is_replayed_and_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = record(tmp_path / "cut.mct", 40, ended=False)
    code, out, _err = replay(capsys, str(path), "--policy", "asap")
    assert code == 0 and "The file is not complete" in out


def margins(path: Path) -> list[tuple[str, str]]:
    text = io.StringIO()
    write_csv(read_run(path), text)
    text.seek(0)
    return [(row["margin_ns"], row["predicted_render_ns"]) for row in csv.DictReader(text)]


def test_the_csv_margin_is_the_budget_without_the_expected_cost(tmp_path: Path) -> None:
    found = margins(record(tmp_path / "fixed.mct", 5))
    assert found == [("", ""), *[(str(4 * MS - 1300 * US), str(1300 * US))] * 4]


def test_asap_keeps_no_margin(tmp_path: Path) -> None:
    assert margins(record(tmp_path / "asap.mct", 3, mode="asap")) == [("0", ""), ("0", "1300000"), ("0", "1300000")]
