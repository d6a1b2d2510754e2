"""The account of a client's time: what it may use at once, on the long run, and when it is out of debt."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicomp.native.pure import ffi, lib

MS = 1_000_000
US = 1_000
START_NS = 10**12
shares = st.floats(1e-7, 0.999)
periods_ns = st.integers(2 * MS, 50 * MS)


class Account:
    """A client's, and the time that passes."""

    def __init__(self, share: float = 0.125, period_ns: int = 16 * MS, saving_ns: int = 100 * MS) -> None:
        self.ration: Any = ffi.new("struct mc_ration *")
        self.rules: Any = ffi.new("struct mc_ration_rules *", (share, saving_ns, period_ns))
        self.now_ns = START_NS
        lib.mc_ration_open(self.ration, self.rules, self.now_ns)

    def work(self, spent_ns: int) -> bool:
        """It is worked for now, for so long; false: it is to wait."""
        self.now_ns += spent_ns
        return bool(lib.mc_ration_spend(self.ration, self.rules, self.now_ns, spent_ns))

    def paid(self) -> bool:
        return bool(lib.mc_ration_is_paid(self.ration, self.rules, self.now_ns))

    def full(self) -> bool:
        return bool(lib.mc_ration_is_full(self.ration, self.rules, self.now_ns))

    def flood(self, lump_ns: int, refreshes: int) -> int:
        """Work without end, in lumps: as long as there is a ration, and from each refresh on again. What it got."""
        used_ns = 0
        for _ in range(refreshes):
            next_ns = self.now_ns + self.rules.period_ns
            while self.paid() and self.now_ns < next_ns:
                used_ns += lump_ns
                if not self.work(lump_ns):
                    break
            self.now_ns = max(self.now_ns, next_ns)
        return used_ns


def test_a_burst_is_paid_from_what_was_saved() -> None:
    account = Account()
    assert all(account.work(100 * US) for _ in range(125)), "an eighth of 100 ms, and what came in meanwhile"
    assert not account.work(5 * MS)
    assert not account.paid()


def test_a_client_that_draws_each_refresh_is_never_made_to_wait() -> None:
    account = Account()
    for _ in range(1000):
        assert account.work(1500 * US)
        account.now_ns += 14 * MS


@pytest.mark.parametrize("lump_us", [1, 50, 500, 2000])
def test_a_flood_gets_its_share_on_the_long_run(lump_us: int) -> None:
    account = Account()
    account.flood(lump_us * US, 100)
    share = account.flood(lump_us * US, 1000) / (1000 * 16 * MS)
    assert 0.12 < share <= 0.126


def test_a_lump_dearer_than_the_ration_comes_once_a_refresh() -> None:
    account = Account(period_ns=16 * MS)
    account.flood(5 * MS, 20)
    assert account.flood(5 * MS, 1000) == 1000 * 5 * MS


@given(shares, periods_ns, st.lists(st.tuples(st.integers(0, 40 * MS), st.integers(0, 10 * MS)), max_size=50))
def test_no_debt_outlasts_a_refresh(share: float, period_ns: int, work: list[tuple[int, int]]) -> None:
    account = Account(share, period_ns)
    for spent_ns, idle_ns in work:
        account.work(spent_ns)
        account.now_ns += idle_ns
    account.now_ns += period_ns
    assert account.paid()


@given(shares, periods_ns, st.integers(1, 3 * MS))
def test_looking_often_earns_neither_more_nor_less(share: float, period_ns: int, step_ns: int) -> None:
    often, once = Account(share, period_ns), Account(share, period_ns)
    for account in (often, once):
        account.work(200 * MS)
    for _ in range(100):
        often.now_ns += step_ns
        often.paid()
    once.now_ns += 100 * step_ns
    once.paid()
    assert abs(often.ration.credit_ns - once.ration.credit_ns) <= 2


def test_who_is_quiet_has_a_full_account_again() -> None:
    account = Account()
    assert account.full()
    account.work(50 * MS)
    assert not account.full()
    account.now_ns += 50 * MS
    assert not account.full()
    account.now_ns += 60 * MS
    assert account.full()
    account.now_ns += 10**10
    account.paid()
    assert account.ration.credit_ns == 12_500 * US, "no more than that can be saved"


def test_time_that_goes_backwards_earns_nothing() -> None:
    account = Account()
    account.work(50 * MS)
    before = account.ration.credit_ns
    account.now_ns -= 40 * MS
    account.paid()
    assert account.ration.credit_ns == before
