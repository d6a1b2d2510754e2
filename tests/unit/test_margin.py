"""The learned margin: what it promises under any order of failures, and at which rate it fails under laws."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicomp.native.pure import ffi, lib

US = 1_000
STEP_NS, LARGEST_NS, LEAST_NS = 200 * US, 1_600 * US, 100 * US
MOST_NS = 10**15  # beyond all that these do


def begun(rate: float) -> tuple[Any, Any]:
    rules = ffi.new(
        "struct mc_margin_rules *",
        {"rate": rate, "step_ns": STEP_NS, "largest_ns": LARGEST_NS, "most_ns": MOST_NS, "least_ns": LEAST_NS},
    )
    margin = ffi.new("struct mc_margin *")
    lib.mc_margin_begin(margin, LEAST_NS, rules)
    return margin, rules


@given(st.lists(st.one_of(st.none(), st.integers(0, 10**9)), max_size=300), st.floats(1e-5, 0.2))
def test_it_rises_by_a_bounded_step_at_each_failure_and_never_falls_below_the_least(
    outcomes: list[int | None], rate: float
) -> None:
    margin, rules = begun(rate)
    for short_ns in outcomes:
        before_ns = margin.ns
        if short_ns is None:
            lib.mc_margin_held(margin, rules, 1)
            assert LEAST_NS <= margin.ns <= before_ns
        else:
            lib.mc_margin_failed(margin, rules, short_ns)
            assert STEP_NS <= margin.ns - before_ns <= LARGEST_NS


def test_a_single_failure_costs_one_small_step_however_much_was_short() -> None:
    margin, rules = begun(0.001)
    for _ in range(5000):
        lib.mc_margin_held(margin, rules, 1)
    lib.mc_margin_failed(margin, rules, 10**9)
    assert margin.ns == LEAST_NS + STEP_NS
    for _ in range(1000):  # as many as the rate allows between two failures
        lib.mc_margin_held(margin, rules, 1)
    assert margin.ns == pytest.approx(LEAST_NS, abs=0.01 * STEP_NS)
    lib.mc_margin_failed(margin, rules, 10**9)
    assert margin.ns == pytest.approx(LEAST_NS + STEP_NS, abs=0.01 * STEP_NS)


def test_failures_that_come_too_often_bring_it_there_in_a_few() -> None:
    margin, rules = begun(0.001)
    failures = 0
    for _ in range(100):
        if margin.ns < 5000 * US:
            failures += 1
            lib.mc_margin_failed(margin, rules, 5000 * US - margin.ns)
        else:
            lib.mc_margin_held(margin, rules, 1)
    assert failures <= 5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [0.01, 0.001])
def test_it_is_too_small_at_the_rate_that_was_asked_for(rate: float, seed: int) -> None:
    """Of needs that are drawn from an exponential law of 1 ms."""
    rng = random.Random(seed)
    margin, rules = begun(rate)
    failures, begin, end = 0, int(10 / rate), int(100 / rate)
    for number in range(end):
        need_ns = int(rng.expovariate(1) * 1000 * US)
        if need_ns > margin.ns:
            failures += number >= begin
            lib.mc_margin_failed(margin, rules, need_ns - margin.ns)
        else:
            lib.mc_margin_held(margin, rules, 1)
    assert 0.2 * rate <= failures / (end - begin) <= 1.2 * rate
