"""The beta, t and normal distributions, as far as intervals need them.

Exact formulas instead of SciPy, which would be a dependency three times the size of numpy for four functions. The
regularised incomplete beta function is the continued fraction of DLMF 8.17.22, evaluated by Lentz's method (Numerical
Recipes, 6.4); quantiles are found by bisection of it, to the last digits that matter for a rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()
_SMALLEST = 1e-300
_PRECISION = 1e-15
_MAX_TERMS = 10_000
"""The fraction needs about sqrt(max(a, b)) terms: enough for 10^7 frames."""
_BISECTIONS = 200
_CLOSE_ENOUGH = 1e-12
"""Of a quantile's own size."""


def beta_cdf(x: float, a: float, b: float) -> float:
    """I_x(a, b): the probability that a beta(a, b) variable is at most x. a, b > 0."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    front = math.exp(log_front)
    # The fraction converges fast on this side of the mean; the other side is its complement.
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(x, a, b) / a
    return 1.0 - front * _beta_fraction(1.0 - x, b, a) / b


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x with beta_cdf(x, a, b) = p."""
    return _bisect(lambda x: beta_cdf(x, a, b), p, 0.0, 1.0)


def t_cdf(t: float, freedom: float) -> float:
    """Student's t with that many degrees of freedom (> 0, not necessarily whole)."""
    tail = 0.5 * beta_cdf(freedom / (freedom + t * t), freedom / 2.0, 0.5)
    return 1.0 - tail if t > 0 else tail


@lru_cache(maxsize=4096)
def t_quantile(p: float, freedom: float) -> float:
    """The t with t_cdf(t, freedom) = p, for 0 < p < 1."""
    if p == 0.5:
        return 0.0
    if p < 0.5:
        return -t_quantile(1.0 - p, freedom)
    high = 1.0
    while t_cdf(high, freedom) < p:
        high *= 2.0
    return _bisect(lambda t: t_cdf(t, freedom), p, 0.0, high)


def normal_cdf(z: float) -> float:
    return _NORMAL.cdf(z)


def normal_quantile(p: float) -> float:
    """The z with normal_cdf(z) = p, for 0 < p < 1."""
    return _NORMAL.inv_cdf(p)


def _beta_fraction(x: float, a: float, b: float) -> float:
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _MAX_TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _away_from_zero(1.0 + term * d)
            c = _away_from_zero(1.0 + term / c)
            value *= c * d
        if abs(c * d - 1.0) < _PRECISION:
            return value
    raise ArithmeticError(f"the incomplete beta function does not converge: x={x}, a={a}, b={b}")


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _SMALLEST else _SMALLEST


def _bisect(rising: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    for _step in range(_BISECTIONS):
        middle = (low + high) / 2.0
        if high - low <= _CLOSE_ENOUGH * high:
            break
        if rising(middle) < wanted:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0
