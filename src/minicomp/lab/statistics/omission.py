"""Coordinated omission: samples that are missing just because others were late.

A client that draws on frame callbacks draws nothing while a frame of it hangs. A frame that came three vblanks late is
one sample, though three frames of a client that goes on drawing would have been late (by two, by one, by none); a
stall's share of the samples is smaller than its share of the time, and percentiles look better than what was felt.

HdrHistogram's remedy (recordValueWithExpectedInterval): a value v of something that should happen every T is recorded
with v - T, v - 2 T, ... down to T as well. It takes every value above T for a stall. In a compositor that is wrong when
frames overlap: with a latency of two refreshes and a frame in each, nothing was omitted. So `corrected` adds only as
many samples as vblanks were missed; `hdr_corrected` is the plain rule, to compare with.
"""

from __future__ import annotations

import numpy as np

from minicomp.lab.pipeline.tables import Floats, Ints


def hdr_corrected(values: Floats, interval: Floats) -> tuple[Floats, Ints]:
    """HdrHistogram's rule: the values (same unit as their expected intervals, > 0) and what it adds.

    Returns the samples and, for each, the row it comes from. NaN values stay alone.
    """
    known = np.where(np.isnan(values), 0.0, values)
    return _with_omitted(values, interval, np.maximum(0, np.floor(known / interval).astype(np.int64) - 1))


def corrected(values: Floats, interval: Floats, missed: Ints) -> tuple[Floats, Ints]:
    """One more sample, an interval shorter each, for every vblank that the value's frame missed; none below 0."""
    known = np.where(np.isnan(values), 0.0, values)
    return _with_omitted(values, interval, np.minimum(missed, np.floor(known / interval).astype(np.int64)))


def _with_omitted(values: Floats, interval: Floats, extra: Ints) -> tuple[Floats, Ints]:
    rows = np.repeat(np.arange(len(values)), extra + 1)
    first = np.cumsum(extra + 1) - (extra + 1)
    step = np.arange(len(rows)) - first[rows]
    return values[rows] - step * interval[rows], rows
