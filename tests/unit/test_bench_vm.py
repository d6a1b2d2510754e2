"""scripts/bench --vm: what it counts, what the guest is told, what it prints. Booting is tested by tests/vm."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from benchlib import vm_frames, vm_guest, vm_report
from benchlib.errors import BenchError
from benchlib.vm_frames import Frame, Measured

REFRESH_NS = 13_333_333


def shown(seq: int, vblank_seq: int) -> Frame:
    presented_ns = vblank_seq * REFRESH_NS
    return Frame(seq, presented_ns - 2_000_000, presented_ns, vblank_seq, REFRESH_NS, discarded=False)


def log_of(frames: list[Frame], reason: str = "frames") -> str:
    lines = [{"type": "start", "width": 400, "height": 300}]
    lines += [{"type": "frame", "surface": 0, "flags": 7} | asdict(frame) for frame in frames]
    return "\n".join(map(json.dumps, [*lines, {"type": "end", "reason": reason}]))


def test_every_refresh_without_a_frame_is_a_missed_flip() -> None:
    frames = [shown(1, 10), shown(2, 11), shown(3, 13), shown(4, 17), shown(5, 18)]
    assert vm_frames.missed_flips(frames) == (1 + 3, 2)


def test_the_vblank_counter_may_wrap_but_not_go_back() -> None:
    assert vm_frames.missed_flips([shown(1, 2**32 - 1), shown(2, 0), shown(3, 1)]) == (0, 0)
    for later in (7, 8):
        with pytest.raises(BenchError, match=f"vblank 8 -> {later}"):
            vm_frames.missed_flips([shown(1, 8), shown(2, later)])


def test_only_frames_after_the_warm_up_count_and_the_gap_before_the_first() -> None:
    # A gap within the warm-up (before frame 40), one just after it (before 51) and one later (before 100).
    numbers = [n + (n >= 40) + (n >= 51) + 2 * (n >= 100) for n in range(1, 201)]
    frames = [shown(n, vblank) for n, vblank in enumerate(numbers, start=1)]
    frames[20] = replace(frames[20], commit_ns=0)  # an enormous latency, but in the warm-up
    got = vm_frames.measure(log_of(frames), warm_up=50)
    assert (got.frames, got.misses, got.missed_flips, got.window) == (150, 2, 3, "400x300")
    assert got.p50_ms == got.max_ms == pytest.approx(2.0)
    assert got.periods(got.p50_ms) == pytest.approx(0.15)


def test_percentiles_are_observed_values_and_discarded_frames_have_none() -> None:
    frames = [shown(n, n) for n in range(1, 202)]
    frames = [replace(f, commit_ns=f.presented_ns - f.seq * 10_000) for f in frames]
    frames[150] = replace(frames[150], presented_ns=0, vblank_seq=0, discarded=True)
    got = vm_frames.measure(log_of(frames), warm_up=1)
    assert (got.frames, got.discarded, got.misses) == (199, 1, 1)  # the frame after the discarded one came later
    assert got.p50_ms == pytest.approx(1.01)
    assert got.max_ms == pytest.approx(2.01)


def test_a_log_that_ended_early_is_no_measurement() -> None:
    frames = [shown(n, n) for n in range(1, 300)]
    for log in (log_of(frames, "closed"), "\n".join(log_of(frames).splitlines()[:-1])):
        with pytest.raises(BenchError, match="did not finish"):
            vm_frames.measure(log, warm_up=10)
    with pytest.raises(BenchError, match="only 9 frames"):
        vm_frames.measure(log_of(frames), warm_up=290)


def test_all_contenders_get_the_same_client_and_none_is_left_running(tmp_path: Path) -> None:
    found = vm_guest.contenders("/x/minicomp", "/x/pulse", "/x/hostile")
    everyone = [found[name] for name in vm_guest.SCENES["plain"].contenders]
    text = vm_guest.script(vm_guest.SCENES["plain"], everyone, "/x/pulse", 4000)
    clients = [re.sub(r"bench/\d+", "bench/N", line) for line in text.splitlines() if "/x/pulse" in line]
    assert (len(clients), len(set(clients))) == (7, 1)
    assert text.count("kill $compositor; wait") == len(everyone) == 7
    path = tmp_path / "script"
    path.write_text(text)
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
    assert "hogs $!" not in text
    hogged = vm_guest.script(vm_guest.SCENES["hogs"], everyone[:1], "/x/pulse", 10)
    assert hogged.count("while :; do :; done") == 2


def test_every_scene_names_contenders_that_exist() -> None:
    names = vm_guest.contenders("/x/minicomp", "/x/pulse", "/x/hostile").keys()
    for scene in vm_guest.SCENES.values():
        assert set(scene.contenders) <= names
        assert scene.contenders[0] == "minicomp" or scene.pairs
        assert {name for pair in scene.pairs for name in pair} <= set(scene.contenders)


def test_neighbours_connect_first_and_end_with_the_client(tmp_path: Path) -> None:
    everyone = vm_guest.contenders("/x/minicomp", "/x/pulse", "/x/hostile")
    scene = vm_guest.SCENES["crowd"]
    text = vm_guest.script(scene, [everyone[name] for name in scene.contenders], "/x/pulse", 10)
    path = tmp_path / "script"
    path.write_text(text)
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
    lines = text.splitlines()
    crowd = [number for number, line in enumerate(lines) if "--app-id crowd" in line]
    client = next(number for number, line in enumerate(lines) if "--require-presentation" in line)
    assert len([number for number in crowd if number < client]) == 99
    assert len(crowd) == 99 + 98 + 98
    assert text.count("flood-commits") == 1
    assert text.count("kill $hogs") == 3


def test_in_real_time_the_guest_settles_sooner_and_notes_what_the_host_took() -> None:
    scene, everyone = vm_guest.SCENES["plain"], vm_guest.contenders("/x/minicomp", "/x/pulse", "/x/hostile")
    virtual, real = (
        vm_guest.script(scene, [everyone["sway"]], "/x/pulse", 10, real_time=real_time) for real_time in (False, True)
    )
    added = [line for line in real.splitlines() if line not in virtual.splitlines()]
    assert [line.split()[0] for line in added] == ["sleep", "head", "head"]
    lines = real.splitlines()
    client = next(number for number, line in enumerate(lines) if "--require-presentation" in line)
    assert lines.index(added[1]) == client - 1
    assert lines.index(added[2]) == client + 2
    before, after = "cpu  100 0 50 800 0 0 0 10 7 7", "cpu  160 0 60 820 0 0 0 20 9 9"
    assert vm_frames.stolen_share(before, after) == pytest.approx(0.1)


def test_in_real_time_minicomp_is_compared_with_sways_default() -> None:
    def said(mine: Measured, default: Measured) -> str:
        return vm_report.against_default({"minicomp": mine, "sway": default})

    assert said(measured(2.0, misses=3), measured(26.0, misses=3)).endswith("pass")
    assert said(measured(2.0, misses=4), measured(26.0, misses=3)).endswith("MISS")
    assert said(measured(26.0), measured(26.0)).endswith("MISS")
    # Of fewer frames, as many misses are a larger share.
    assert said(measured(2.0, misses=3, frames=2000), measured(26.0, misses=3)).endswith("MISS")


def test_neighbours_may_change_a_tenth() -> None:
    alone, beside = measured(2.0), measured(2.19)
    assert vm_report.difference("a", alone, "b", beside).endswith("pass")
    assert vm_report.difference("a", alone, "b", measured(2.21)).endswith("MISS")
    assert vm_report.difference("a", alone, "b", measured(2.0, misses=4)).endswith("MISS")
    slow_tail = replace(beside, p99_ms=2 * alone.p99_ms)
    assert vm_report.difference("a", alone, "b", slow_tail).endswith("MISS")
    assert vm_report.difference("a", alone, "b", slow_tail, ("p50",)).endswith("pass")


def test_sways_settings_are_those_of_its_name() -> None:
    everyone = vm_guest.contenders("/x/minicomp", "/x/pulse", "/x/hostile")
    assert "max_render_time" not in everyone["sway"].sway_config
    lines = everyone["sway 2/1"].sway_config.splitlines()
    assert "output * max_render_time 2" in lines
    assert 'for_window [app_id="minicomp.pulse"] max_render_time 1' in lines


def measured(p50_ms: float = 2.0, misses: int = 0, frames: int = 3000) -> Measured:
    return Measured(frames, 13.333, p50_ms, p50_ms, p50_ms, p50_ms, misses, misses, 0, "400x300")


@pytest.mark.parametrize(
    ("misses", "frames", "verdict"),
    [
        (0, 3000, "pass"),
        (1, 3000, "pass"),
        (2, 3000, "MISS"),
        (0, 500, "cannot tell: too few frames"),
        (1, 500, "cannot tell: too few frames"),
        (9, 500, "MISS"),
    ],
)
def test_the_miss_target_is_an_upper_bound(misses: int, frames: int, verdict: str) -> None:
    assert vm_report.miss_target(measured(misses=misses, frames=frames))[3] == verdict


def test_a_sway_setting_beats_minicomp_only_when_it_misses_no_more() -> None:
    rows = {
        "minicomp": measured(2.0, misses=1),
        "asap": measured(1.0),
        "sway": measured(26.0),
        "sway 2/1": measured(1.5, misses=2),
    }
    assert vm_report.beaten_by(rows) == []
    assert vm_report.beaten_by(rows | {"sway 2/1": measured(1.5, misses=1)}) == ["sway 2/1"]


def test_the_report_shows_both_units_failures_and_the_second_run() -> None:
    row = asdict(measured(2.0)) | {"own": {"missed": 1, "client_late": 2, "judged": 3000}}
    scene = {
        "name": "plain",
        "what": "one client",
        "warm_up": 1000,
        "frames": 3000,
        "measured": {"minicomp": row, "sway": asdict(measured(26.0))},
        "failed": {"sway 4/4": "exit code 2"},
        "again": {"minicomp": row | {"p50_ms": 2.02}, "sway": asdict(measured(26.0))},
    }
    head = {
        "plan": "full",
        "display": "bochs-display",
        "window": "400x300",
        "sway": "1.7",
        "tree": "abc",
        "host_s": 1.0,
    }
    text = vm_report.render(json.loads(json.dumps(head | {"scenes": [scene]})))
    line = next(line for line in text.splitlines() if line.startswith("minicomp  "))
    assert line.split() == ["minicomp", *["2.000"] * 4, "0.150", "0.150", "0", "3000", "0.13%", "1/2"]
    assert "sway 4/4 FAILED: exit code 2" in text
    assert "1 of 2 contenders differ, percentiles by 1.00% at most" in text
    assert "p50, refresh periods 0.1500 <= 0.18: pass" in text
    rows = {name: row | {"stolen": 0.021} for name, row in scene["measured"].items()}
    real = json.loads(json.dumps(head | {"real_time": "KVM, 2 CPUs", "scenes": [scene | {"measured": rows}]}))
    text = vm_report.render(real)
    assert "in the guest's real time (KVM, 2 CPUs)" in text
    assert "virtual time" not in text
    assert "1 CPU," not in text
    line = next(line for line in text.splitlines() if line.startswith("minicomp  "))
    assert line.split()[-2:] == ["1/2", "2.1%"]
    assert "target: better than sway's default at no more misses" in text
    assert "refresh periods 0.1500 <= 0.18" not in text
