"""How long each part takes, how often, and in which order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    frame_rounds: int
    warm_up_s: float
    window_s: float
    scale_rounds: int
    scale_warm_up_s: float  # doubled for 100 clients, which need longer to start
    scale_window_s: float
    start_rounds: int
    trace_batches: int


FULL = Plan(
    frame_rounds=8,
    warm_up_s=0.5,
    window_s=2.0,
    scale_rounds=4,
    scale_warm_up_s=0.6,
    scale_window_s=1.5,
    start_rounds=15,
    trace_batches=300,
)
QUICK = Plan(
    frame_rounds=2,
    warm_up_s=0.3,
    window_s=0.8,
    scale_rounds=1,
    scale_warm_up_s=0.4,
    scale_window_s=0.7,
    start_rounds=5,
    trace_batches=60,
)
PLANS = {"full": FULL, "quick": QUICK}


def order(names: Sequence[str], round_: int, seed: int) -> list[str]:
    """A random order for each even round, and its reverse for the odd one after it: A B C D, then D C B A.

    Whatever drifts (clock frequency, page cache, neighbours) then meets every contender early and late alike.
    """
    shuffled = list(names)
    random.Random(f"{seed}:{round_ // 2}").shuffle(shuffled)
    return shuffled if round_ % 2 == 0 else shuffled[::-1]
