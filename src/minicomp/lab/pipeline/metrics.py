"""PresentMon's metrics in terms of our trace points, in milliseconds, one value a *present*.

A present is a surface commit with content that an output took (a row of `joined.latches`): what PresentMon sees as one
Present() of one swap chain. PresentMon's "Present() call" is wl_surface.commit; its start is COMMIT_REQUEST (5) and its
return SURFACE_COMMIT (6). "Displayed" is PRESENTED (17) of the frame that showed the present, at the vblank time in its
arg. "CPU start" of a client's frame is the FRAME_CALLBACK (18) that it answers. NaN: not known.

MsBetweenPresents             this commit request - the surface's previous one with content
MsInPresentAPI                commit request -> commit applied (the compositor's part of the call: buffer import)
MsCPUBusy                     CPU start -> commit request (includes the callback's way to the client)
MsCPUWait                     commit applied -> the surface's next frame callback, if it came before its next commit
MsRenderPresentLatency        commit request -> KMS commit accepted (KMS_COMMIT_END of the frame that took it)
MsUntilDisplayed              commit request -> displayed
DisplayLatency                CPU start -> displayed
MsBetweenDisplayChange        displayed - the surface's previous displayed present, on the same output
DisplayedTime                 the surface's next displayed present - displayed: how long it stayed on the screen
MsAnimationError              (displayed - previous displayed) - (CPU start - previous CPU start); commit requests stand
                              in when either of the two has no callback. Signed; reports give its magnitude
MsAllInputToPhotonLatency     the earliest input that contributed (see `Inputs`) -> displayed
MsClickToPhotonLatency        the same for keys, buttons and touch only

The last two are photon latencies only when the vblank time came from hardware; reports say what it was. With the step
clock, displayed times and stamps are of two clocks: what would mix them is NaN throughout. Names and meanings follow
PresentMon's README-ConsoleApplication.md.
"""

from __future__ import annotations

import numpy as np

from minicomp.lab.pipeline.join import CONTENT
from minicomp.lab.pipeline.points import InputKind
from minicomp.lab.pipeline.tables import MISSING, Floats, Ints, Joined, known_or, span_ns, take

METRICS = (
    "MsBetweenPresents",
    "MsInPresentAPI",
    "MsCPUBusy",
    "MsCPUWait",
    "MsRenderPresentLatency",
    "MsUntilDisplayed",
    "DisplayLatency",
    "MsBetweenDisplayChange",
    "DisplayedTime",
    "MsAnimationError",
    "MsAllInputToPhotonLatency",
    "MsClickToPhotonLatency",
)
PHOTON_METRICS = ("MsAllInputToPhotonLatency", "MsClickToPhotonLatency")
MIXES_CLOCKS = (
    "MsUntilDisplayed",
    "DisplayLatency",
    "MsAnimationError",
    "MsAllInputToPhotonLatency",
    "MsClickToPhotonLatency",
)
"""Not defined with the step clock."""
_CLICKS = (InputKind.KEY, InputKind.BUTTON, InputKind.TOUCH)


def present_metrics(joined: Joined) -> dict[str, Floats]:
    """Every metric of METRICS, one value in ms for each row of `joined.latches`."""
    latches, commits, frames = joined.latches, joined.commits, joined.frames
    request = known_or(commits.request_ns, commits.commit_ns)
    displayed = take(frames.presented_ns, latches.shown_row)
    of_commit = latches.commit_row
    asked = take(request, of_commit)
    start = take(commits.callback_ns, of_commit)

    previous, following = _display_neighbours(joined, displayed)
    previous_start, previous_asked = take(start, previous), take(asked, previous)
    both_called = (start != MISSING) & (previous_start != MISSING)
    client_step = np.where(both_called, span_ns(previous_start, start), span_ns(previous_asked, asked))
    display_step = span_ns(take(displayed, previous), displayed)
    any_input, clicks = _earliest_inputs(joined)
    spans = {
        "MsBetweenPresents": take_float(_between_presents(joined, request), of_commit),
        "MsInPresentAPI": span_ns(take(commits.request_ns, of_commit), take(commits.commit_ns, of_commit)),
        "MsCPUBusy": span_ns(start, asked),
        "MsCPUWait": span_ns(take(commits.commit_ns, of_commit), take(commits.next_callback_ns, of_commit)),
        "MsRenderPresentLatency": span_ns(asked, take(frames.kms_end_ns, latches.frame_row)),
        "MsUntilDisplayed": span_ns(asked, displayed),
        "DisplayLatency": span_ns(start, displayed),
        "MsBetweenDisplayChange": display_step,
        "DisplayedTime": span_ns(displayed, take(displayed, following)),
        "MsAnimationError": display_step - client_step,
        "MsAllInputToPhotonLatency": span_ns(any_input, displayed),
        "MsClickToPhotonLatency": span_ns(clicks, displayed),
    }
    if joined.run.stepped:
        spans.update({name: np.full(len(latches), np.nan) for name in MIXES_CLOCKS})
    return {name: spans[name] / 1e6 for name in METRICS}


def take_float(column: Floats, rows: Ints) -> Floats:
    """column[rows], NaN where a row is -1."""
    if not len(column):
        return np.full(len(rows), np.nan)
    return np.where(rows >= 0, column[np.maximum(rows, 0)], np.nan)


def _between_presents(joined: Joined, request: Ints) -> Floats:
    """For each commit with content: ns since the surface's previous one."""
    commits = joined.commits
    between = np.full(len(commits), np.nan)
    content = np.flatnonzero(commits.flags & int(CONTENT) != 0)
    same = commits.surface_id[content][1:] == commits.surface_id[content][:-1]
    gap = span_ns(request[content[:-1]], request[content[1:]])
    between[content[1:][same]] = gap[same]
    return between


def _display_neighbours(joined: Joined, displayed: Ints) -> tuple[Ints, Ints]:
    """For each latch: the latch displayed before and after it on the same output for the same surface, or -1."""
    latches = joined.latches
    shown = np.flatnonzero(displayed != MISSING)
    order = shown[np.lexsort((latches.number[shown], latches.output_id[shown], latches.surface_id[shown]))]
    same = (latches.surface_id[order][1:] == latches.surface_id[order][:-1]) & (
        latches.output_id[order][1:] == latches.output_id[order][:-1]
    )
    previous = np.full(len(latches), -1, np.int64)
    following = np.full(len(latches), -1, np.int64)
    previous[order[1:][same]] = order[:-1][same]
    following[order[:-1][same]] = order[1:][same]
    return previous, following


def _earliest_inputs(joined: Joined) -> tuple[Ints, Ints]:
    """For each latch: the own time of its earliest contributing input, of any kind and of clicks, or MISSING."""
    inputs = joined.inputs
    found = []
    for wanted in (np.ones(len(inputs), np.bool_), np.isin(inputs.kind, _CLICKS)):
        earliest = np.full(len(joined.latches), np.iinfo(np.int64).max, np.int64)
        rows = wanted & (inputs.latch_row >= 0)
        np.minimum.at(earliest, inputs.latch_row[rows], inputs.own_ns[rows])
        found.append(np.where(earliest != np.iinfo(np.int64).max, earliest, MISSING))
    return found[0], found[1]
