"""scripts/bench: what it counts, how it compares, what it prints. The measuring itself is run by test_bench_run.py."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from benchlib import cli, cpu_clock, debsource, estimates, frames, plan, report, startup, tinywl
from benchlib.errors import Unavailable


def frame_line(callback_ns: int, presented_ns: int = 0) -> str:
    return json.dumps(
        {"type": "frame", "surface": 0, "callback_ns": callback_ns, "presented_ns": presented_ns}, separators=(",", ":")
    )


def test_frames_are_counted_in_the_window_only() -> None:
    lines = [
        '{"type":"start","pid":1}',
        frame_line(0),
        frame_line(100, 150),
        frame_line(101, 250),
        frame_line(200, 201),
    ]
    assert frames.count_frames([*lines, frame_line(201), '{"type":"end"}'], begin_ns=100, end_ns=200) == (2, 1)


def slot(contender: str, scenario: str = "small", round_: int = 0, us: float = 100.0, **changes: Any) -> frames.Slot:
    values: dict[str, Any] = {
        "contender": contender,
        "scenario": scenario,
        "round": round_,
        "clients": 1,
        "span_ns": 2_000_000_000,
        "cpu_ns": int(us * 125 * 1000),
        "frames": 125,
        "presented": 0,
        "wakeups": 250,
        "threads_ns": {contender: int(us * 125 * 1000)},
        "disturbance": cpu_clock.Disturbance(0.0, 0.0, 0.0),
    }
    return frames.Slot(**values | changes)


def test_cpu_is_charged_per_output_frame_not_per_client() -> None:
    """Ten clients at the display's rate are ten callbacks a frame; what the frame costs is divided by one."""
    ten = slot("sway", clients=10, frames=1250, cpu_ns=125 * 400_000)
    assert ten.us_per_frame == pytest.approx(400)
    assert ten.rate_hz == pytest.approx(62.5)


@pytest.mark.parametrize(
    ("delivered_frames", "counts"), [(125, True), (115, True), (100, False), (0, False), (250, False)]
)
def test_a_window_without_its_frames_does_not_count(delivered_frames: int, counts: bool) -> None:
    assert slot("sway", frames=delivered_frames).delivered is counts


def test_order_is_reversed_in_every_second_round_and_the_same_for_a_seed() -> None:
    names = ["a", "b", "c", "d"]
    orders = [plan.order(names, round_, seed=5) for round_ in range(8)]
    assert all(sorted(one) == names for one in orders)
    assert all(orders[even] == orders[even + 1][::-1] for even in range(0, 8, 2))
    assert len({tuple(one) for one in orders}) > 2
    assert orders == [plan.order(names, round_, seed=5) for round_ in range(8)]


def test_ratio_of_medians_with_an_interval_that_holds_it() -> None:
    a = {r: 80.0 + r % 3 for r in range(8)}
    b = {r: 100.0 + r % 2 for r in range(8)}
    found = estimates.ratio(a, b)
    assert found is not None and found.low is not None and found.high is not None
    assert found.value == pytest.approx(81 / 100.5)
    assert found.low <= found.value <= found.high
    assert (found.verdict(0.9), found.verdict(0.7), found.verdict(0.805)) == ("pass", "miss", "miss, unsure")


def test_few_rounds_give_no_interval_and_no_rounds_no_ratio() -> None:
    found = estimates.ratio({0: 1.0, 1: 1.2}, {0: 2.0, 1: 2.0, 2: 9.0})
    assert found == estimates.Ratio(0.55, None, None, 2)
    assert found.verdict(0.9) == "pass, unsure"
    assert estimates.ratio({0: 1.0}, {1: 1.0}) is None


def test_one_wild_round_moves_neither_median_nor_mad() -> None:
    values = [10.0, 11.0, 12.0, 500.0, 9.0]
    assert (estimates.median(values), estimates.mad(values)) == (11.0, 1.0)


def test_slope_is_what_one_more_costs() -> None:
    assert estimates.slope({1: 50 + 7, 10: 50 + 70, 100: 50 + 700}) == pytest.approx(7)


def test_cpu_clock_of_another_process_counts_what_it_burns_and_its_children() -> None:
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); input()"
    import subprocess

    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as parent:
        deadline = time.monotonic() + 30
        most_ns = 0
        while time.monotonic() < deadline and most_ns < 150_000_000:
            most_ns = max(most_ns, cpu_clock.tree_cpu_ns(parent.pid) - cpu_clock.process_cpu_ns(parent.pid))
            time.sleep(0.01)
        assert parent.stdin is not None
        parent.stdin.close()
    assert most_ns >= 150_000_000
    with pytest.raises(ProcessLookupError):
        cpu_clock.process_cpu_ns(parent.pid)


def test_wakeups_of_another_process_are_counted() -> None:
    import subprocess

    with subprocess.Popen(["sh", "-c", "read line; read line"], stdin=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None
        deadline = time.monotonic() + 30
        while cpu_clock.wakeups(reader.pid) == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        before = cpu_clock.wakeups(reader.pid)
        reader.stdin.write("once\n")
        reader.stdin.flush()
        while cpu_clock.wakeups(reader.pid) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert before >= 1 and cpu_clock.wakeups(reader.pid) > before


def test_own_cpu_is_not_a_disturbance_but_that_of_others_is() -> None:
    begin = cpu_clock.MachineClock(0, 0, 0, 0)
    end = cpu_clock.MachineClock(1_000_000_000, 500_000_000, 0, 0)
    assert not cpu_clock.Disturbance.between(begin, end, own_ns=450_000_000).disturbed
    assert cpu_clock.Disturbance.between(begin, end, own_ns=300_000_000).disturbed
    stolen = cpu_clock.MachineClock(1_000_000_000, 0, 50_000_000, 0)
    assert cpu_clock.Disturbance.between(begin, stolen, own_ns=0).disturbed


def test_machine_clock_moves_forward() -> None:
    first = cpu_clock.MachineClock.now()
    second = cpu_clock.MachineClock.now()
    assert second.t_ns > first.t_ns and second.busy_ns >= first.busy_ns > 0


def test_import_times_are_parsed_and_added_up_by_package() -> None:
    text = """\
import time: self [us] | cumulative | imported package
import time:       200 |        200 |   zipimport
minicomp[run] INFO ready
import time:      1500 |       1700 | minicomp.cli
import time:      3000 |       3000 |     _cffi_backend
import time:       500 |       3500 |   minicomp.native.wlr._wlr
"""
    rows = startup.parse_import_time(text.splitlines())
    assert [(row.module, row.self_us, row.cumulative_us, row.depth) for row in rows] == [
        ("zipimport", 200, 200, 1),
        ("minicomp.cli", 1500, 1700, 0),
        ("_cffi_backend", 3000, 3000, 2),
        ("minicomp.native.wlr._wlr", 500, 3500, 1),
    ]
    assert startup.by_package(rows) == {"cffi": 3.0, "minicomp": 2.0, "standard library": 0.2}


def test_import_times_of_a_real_interpreter() -> None:
    import subprocess

    done = subprocess.run([sys.executable, "-X", "importtime", "-c", "import json"], capture_output=True, text=True)
    names = [row.module for row in startup.parse_import_time(done.stderr.splitlines())]
    assert "json" in names and "json.decoder" in names


def test_source_lines_name_the_release_of_this_system_only() -> None:
    targets = ["http://m/debian rel main", "http://m/debian rel main", "http://m/security rel-security main"]
    targets += [
        "http://other/apt cloud-rel main",
        "http://m/debian rel contrib",
        "http://m/debian",
        "http://m/d relx main",
    ]
    by = f"[signed-by={debsource.KEYRING}]"
    assert debsource.source_lines(targets, "rel") == [
        f"deb-src {by} http://m/debian rel main",
        f"deb-src {by} http://m/security rel-security main",
    ]
    assert debsource.source_lines(["http://other/apt cloud-rel main"], "rel") == []


def test_tinywl_is_edited_in_known_places_only() -> None:
    source = "a\n\twlr_seat_keyboard_notify_enter(seat);\nwlr_log_init(WLR_DEBUG, NULL);\n"
    assert tinywl.edited(source) == (
        "a\n\tif (keyboard != NULL) wlr_seat_keyboard_notify_enter(seat);\nwlr_log_init(WLR_ERROR, NULL);\n"
    )
    with pytest.raises(Unavailable, match="0 times"):
        tinywl.edited("int main;")


def result(**changes: Any) -> dict[str, Any]:
    """A measured run as measure.py writes it: minicomp at 80 us a frame, without trace 75, sway 100, tinywl 80."""
    from dataclasses import asdict

    cost = {"minicomp": 80.0, "minicomp-notrace": 75.0, "sway": 100.0, "tinywl": 80.0}
    slots = []
    for round_ in range(6):
        for name, us in cost.items():
            made = [slot(name, "small", round_, us + round_), slot(name, "full", round_, 10 * us)]
            made += [
                slot(
                    name, f"scale-{n}", round_, us + n * 5, clients=n, frames=125 * n, cpu_ns=int((us + 5 * n) * 125000)
                )
                for n in (1, 10, 100)
            ]
            for one in made:
                slots.append(
                    asdict(one)
                    | {
                        "us_per_frame": one.us_per_frame,
                        "rate_hz": one.rate_hz,
                        "wakeups_per_frame": one.wakeups_per_frame,
                    }
                    | {"delivered": one.delivered, "disturbed": one.disturbance.disturbed}
                )
    starts = [
        {"contender": name, "round": r, "first_roundtrip_ms": us, "cpu_ms": us / 2}
        for name, us in cost.items()
        for r in range(6)
    ]
    memory = [
        {"contender": name, "round": 0, "peak_rss_kib": 20480, "rss_kib": 10240, "pss_kib": 5120} for name in cost
    ]
    return {
        "plan": "full",
        "contenders": [{"name": name, "what": f"{name} 1.0"} for name in cost],
        "left_out": ["cage: not installed (Debian: apt-get install cage)"],
        "machine": {"cpus": 2, "cpu": "", "kernel": "6.1", "python": "3.11", "load_before": 0.1},
        "starts": starts,
        "memory": memory,
        "slots": slots,
        "failures": [],
        "trace_point_ns": [40.0, 41.0, 42.0],
        "start_breakdown": {
            "interpreter_ms": 10.0,
            "imports_ms": {"standard library": 20.0},
            "slowest_modules_ms": [("enum", 1.0)],
            "socket_ms": 60.0,
            "first_roundtrip_ms": 62.0,
        },
    } | changes


def line_with(text: str, *words: str) -> str:
    found = [line for line in text.splitlines() if all(word in line for word in words)]
    assert len(found) == 1, (words, found)
    return found[0]


def test_report_marks_targets() -> None:
    text = report.render(result())
    assert line_with(text, "small damage / sway").endswith("pass")
    assert "0.80" in line_with(text, "small damage / sway") or "0.81" in line_with(text, "small damage / sway")
    assert line_with(text, "full damage / tinywl").split()[-1] == "pass"
    assert "41 ns" in line_with(text, "one trace point", "<=")
    assert line_with(text, "trace at 60 Hz, of one CPU").endswith("pass")
    assert "0.03%" in line_with(text, "trace at 60 Hz, of one CPU")  # 5 us x 60
    assert "left out: cage" in text and "DISTURBED" not in text
    assert max(map(len, text.splitlines())) <= 140


def test_report_says_a_miss() -> None:
    slow = result(trace_point_ns=[90.0])
    for row in slow["slots"]:
        if row["contender"] == "minicomp":
            row["us_per_frame"] *= 2
    text = report.render(slow)
    assert line_with(text, "small damage / sway").endswith("miss")
    assert line_with(text, "one trace point", "<=").endswith("miss")


def test_report_leaves_out_windows_without_their_frames_and_says_so() -> None:
    starved = result()
    for row in starved["slots"]:
        if row["contender"] == "sway" and row["scenario"] == "full":
            row.update(delivered=False, rate_hz=40.0)
    text = report.render(starved)
    assert "not measured" in line_with(text, "full damage / sway")
    assert "not counted: sway, full, round 1 delivered 40.0 of 62.5 frames/s" in text


def test_report_warns_of_a_disturbed_machine() -> None:
    disturbed = result()
    disturbed["machine"]["load_before"] = 3.2
    for row in disturbed["slots"][:7]:
        row["disturbed"] = True
    text = report.render(disturbed)
    assert f"in 7 of {len(disturbed['slots'])} windows" in text and "load average before the start was 3.2" in text


def test_report_of_a_contender_that_never_started() -> None:
    """It has neither starts nor windows; the failure is in the text, the others are compared."""
    failed = result(failures=["left out from the start: tinywl ended by itself with 127"])
    for key in ("slots", "starts", "memory"):
        failed[key] = [row for row in failed[key] if row["contender"] != "tinywl"]
    text = report.render(failed)
    assert "failed: left out from the start: tinywl" in text
    assert "not measured" in line_with(text, "small damage / tinywl")
    assert line_with(text, "small damage / sway").endswith("pass")


def test_report_without_the_other_compositors() -> None:
    """Only what was measured is compared; nothing breaks."""
    alone = result()
    for key in ("slots", "starts", "memory", "contenders"):
        alone[key] = [row for row in alone[key] if row.get("contender", row.get("name")).startswith("minicomp")]
    text = report.render(alone)
    assert "not measured" in line_with(text, "small damage / sway")


def test_show_prints_the_table_of_an_earlier_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps(result()))
    assert cli.main(["--show", str(kept)]) == 0
    assert "Targets" in capsys.readouterr().out
    assert cli.main(["--show", str(tmp_path / "none.json")]) == 1
    assert "none.json" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a user to drop")
def test_root_is_dropped_but_reading_is_kept(tmp_path: Path) -> None:
    import subprocess

    folder = tmp_path / "x"
    folder.mkdir()
    script = "import os; print(os.geteuid(), os.getgroups(), open('/proc/self/status').read())"
    done = subprocess.run([*cli._as_unprivileged(folder), sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] != "0"
    assert line_with(done.stdout, "CapEff").split()[1] == f"{1 << 2:016x}"  # CAP_DAC_READ_SEARCH and nothing else
