"""scripts/bench --pacing: the order of its runs, and its tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from benchlib import pacing, pacing_report


def test_every_case_once_a_round_and_what_is_compared_side_by_side() -> None:
    everything = pacing.cases()
    order = list(pacing._interleaved(everything, 3, seed=1))
    assert len(order) == 3 * len(everything) == 3 * len(set(everything))
    for first, second in zip(order[::2], order[1::2], strict=True):
        assert (first[0], first[1].group, first[1].name) == (second[0], second[1].group, second[1].name)
        assert first[1].variant != second[1].variant
    assert order[: len(everything)] != order[len(everything) : 2 * len(everything)]


def slot(group: str, variant: str, p50_ms: float, round_: int = 0, **more: Any) -> dict[str, Any]:
    values = {"name": "60 Hz", "refresh_hz": 60, "work_us": 1000, "frames": 100, "p99_ms": p50_ms * 2, "causes": {}}
    return {"group": group, "variant": variant, "p50_ms": p50_ms, "max_ms": 50.0, "round": round_, **values, **more}


@pytest.mark.parametrize(
    ("p50_ms", "verdict"), [(5.9, "0.294 refresh <= 0.3: pass"), (6.1, "0.306 refresh <= 0.3: MISS")]
)
def test_the_clients_work_is_not_the_compositors(p50_ms: float, verdict: str) -> None:
    slots = [slot("work", "adaptive", p50_ms), slot("work", "asap", 30.0, causes={"wake late": 3, "client late": 1})]
    text = pacing_report.render({"plan": "quick", "host_s": 1.0, "slots": slots})
    assert verdict in text
    assert "wake late 3, client late 1" in text


def test_policy_is_compared_round_by_round() -> None:
    idle = [slot("policy", "idle", value, round_) for round_, value in enumerate([1.0, 4.0, 2.0])]
    busy = [slot("policy", "busy", value, round_) for round_, value in enumerate([1.1, 4.0, 1.8])]
    text = pacing_report.render({"plan": "full", "host_s": 1.0, "slots": idle + busy})
    assert "median 1.000 (0.900-1.100)" in text
