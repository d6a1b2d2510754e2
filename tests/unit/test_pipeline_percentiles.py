"""Percentiles against their definition, and the Wilson interval against published values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicomp.lab.pipeline.percentiles import PERMILLES, resolves, summarise, wilson_interval

samples = st.lists(st.floats(-1e9, 1e9, allow_nan=False), max_size=3000)


@given(samples)
def test_a_percentile_is_the_smallest_value_that_enough_samples_do_not_exceed(values: list[float]) -> None:
    stats = summarise(np.array(values, np.float64))
    assert stats.count == len(values)
    for name, permille in PERMILLES.items():
        found = stats.percentiles[name]
        if len(values) * (1000 - permille) < 1000:
            assert found is None
            continue
        assert found in values
        enough = [v for v in values if 1000 * sum(w <= v for w in values) >= permille * len(values)]
        assert found == min(enough)


@given(samples)
def test_percentiles_ascend_to_the_maximum(values: list[float]) -> None:
    stats = summarise(np.array(values, np.float64))
    known = [value for value in stats.percentiles.values() if value is not None]
    known += [stats.max] if stats.max is not None else []
    assert known == sorted(known)
    assert (stats.max is None) == (not values)


def test_unknown_samples_are_left_out() -> None:
    stats = summarise(np.array([3.0, np.nan, 1.0, np.nan]))
    assert (stats.count, stats.percentiles["p50"], stats.max) == (2, 1.0, 3.0)


@pytest.mark.parametrize(("permille", "needed"), [(500, 2), (900, 10), (990, 100), (999, 1000)])
def test_how_many_samples_a_percentile_needs(permille: int, needed: int) -> None:
    assert resolves(needed, permille)
    assert not resolves(needed - 1, permille)


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_has_the_published_bounds(hits: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(hits, trials) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_wilson_interval_holds_the_rate(hits: int, trials: int) -> None:
    hits = min(hits, trials)
    low, high = wilson_interval(hits, trials)
    assert 0 <= low <= hits / trials <= high <= 1
    assert not math.isclose(low, high)


def test_wilson_interval_knows_nothing_without_trials() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
