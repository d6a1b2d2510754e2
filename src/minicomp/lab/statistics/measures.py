"""What is measured of a frame: names, meanings, and which numbers of them are tested.

Names are the Parquet columns'. Lower is better for all but `ms_between_presents`, whose ideal is the refresh period and
where only the upper percentiles say something.
"""

from __future__ import annotations

from typing import NamedTuple

from minicomp.lab.pipeline import reasons
from minicomp.lab.pipeline.percentiles import PERMILLES

CAUSES: tuple[str, ...] = reasons.CAUSES
"""Of a missed vblank, in the order of reports. All but CLIENT_LATE are compositor-side."""
CLIENT_LATE: reasons.CauseName = "client late"


class Measure(NamedTuple):
    """One column."""

    column: str
    words: str


LATENCY = "commit_to_presented_ms"
MEASURES = (
    Measure(LATENCY, "commit → presented"),
    Measure("callback_to_presented_ms", "callback → presented"),
    Measure("wake_late_ms", "wake lateness"),
    Measure("lock_wait_ms", "lock wait"),
    Measure("compose_ms", "compose"),
    Measure("kms_ms", "KMS commit"),
    Measure("ms_between_presents", "between presents"),
)

RATES = ("all", "compositor", "client")
"""Miss rates: every missed vblank, those with a compositor-side cause, and those that the client caused."""

PRIMARY = "primary"
SECONDARY = "secondary"
"""Families of tests: Holm's correction is made within each."""

SMALLER = "smaller"
"""The comparison of all frames: how often one of the arm has the smaller latency than one of the baseline."""

TESTED: dict[str, tuple[tuple[str, str], ...]] = {
    PRIMARY: ((LATENCY, "p50"), (LATENCY, "p99")),
    SECONDARY: (
        ("callback_to_presented_ms", "p99"),
        ("wake_late_ms", "p50"),
        ("wake_late_ms", "p99"),
        ("lock_wait_ms", "p99"),
        ("compose_ms", "p50"),
        ("compose_ms", "p99"),
        ("kms_ms", "p99"),
        ("ms_between_presents", "p99"),
    ),
}
"""Percentiles compared with the baseline's. The primary family also holds the compositor-side miss rate and which arm's
latency is smaller (`SMALLER`); the secondary one the other two rates. Each test makes all others of its family harder
to pass: what says the same is left out."""


for _family in TESTED.values():
    assert all(name in PERMILLES for _column, name in _family)


def words_for(column: str) -> str:
    return next(measure.words for measure in MEASURES if measure.column == column)
