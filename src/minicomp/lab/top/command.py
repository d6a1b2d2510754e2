"""`minicomp top FILE`: a live view of a running compositor, from the run file that it is writing.

Everything that costs start-up time (numpy, rich) is imported when the command runs.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from minicomp.errors import ExitCode, MinicompError

if TYPE_CHECKING:
    from rich.text import Text

    from minicomp.lab.top.screen import Heading
    from minicomp.lab.top.tail import Tail

STALE_S = 2.0
"""Twenty times the usual pause between two chunks."""

_DESCRIPTION = """\
Watch a running compositor's frames. It must be writing a run file:

  minicomp run --trace run.mct -- APP &
  minicomp top run.mct

Per output: what frames cost against their budget, when they were shown against the predicted vblank, the margin, missed
vblanks; stage times, waits for the lock, clients. q quits.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("file", metavar="FILE", help="the run file")
    parser.add_argument("--once", action="store_true", help="print one screen and exit")
    parser.add_argument("--window", metavar="S", type=float, default=10.0, help="seconds to look back; default 10")
    parser.add_argument("--interval", metavar="S", type=float, default=0.5, help="between two screens; default 0.5")
    parser.add_argument("--wait-s", metavar="S", type=float, default=0.0, help="wait this long for FILE to appear")


def run(args: argparse.Namespace) -> int:
    """Returns the exit code. Raises MinicompError."""
    for value, option in ((args.window, "--window"), (args.interval, "--interval")):
        if not 0.05 <= value <= 3600:
            raise MinicompError("not between 0.05 and 3600 seconds", where=option, exit_code=ExitCode.USAGE)
    if not args.once and not sys.stdout.isatty():
        raise MinicompError("standard output is no terminal", todo="use --once", exit_code=ExitCode.USAGE)
    try:
        import rich  # noqa: F401

        from minicomp.lab.top.tail import Tail, wait_for_file
    except ModuleNotFoundError as error:
        raise MinicompError(
            f"the live view needs {error.name}", todo="install minicomp[lab]", exit_code=ExitCode.UNAVAILABLE
        ) from error

    wait_for_file(args.file, args.wait_s)
    with Tail(args.file, args.window) as tail:
        if args.once:
            _print_once(tail)
        else:
            _watch(tail, args.interval)
    return ExitCode.OK


def _print_once(tail: Tail) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    tail.read()
    console.print(_draw(tail, console.width, console.height, keys=False), overflow="crop", no_wrap=True)


def _watch(tail: Tail, interval_s: float) -> None:
    """Draws until q, Ctrl-C or the end of the terminal."""
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with _keys() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            tail.read()
            live.update(_draw(tail, console.width, console.height, keys=keyboard is not None), refresh=True)
            if _quits(keyboard, interval_s):
                return


def _draw(tail: Tail, width: int, height: int, *, keys: bool) -> Text:
    from minicomp.lab.top.screen import screen
    from minicomp.lab.top.view import build_view

    run = tail.as_run()
    return screen(build_view(run), heading(tail), width, height, keys=keys)


def heading(tail: Tail) -> Heading:
    """Says whether the file grows, and if not, why as far as that can be told."""
    from minicomp.lab.top.screen import Heading

    meta = tail.meta
    pid = meta.get("pid")
    facts = [str(meta[key]) for key in ("backend", "renderer") if key in meta]
    title = f"{tail.path.name}   pid {pid}   {', '.join(facts)}"
    behind_s = tail.behind_s()
    if tail.end is not None:
        status, alarm = "the compositor has ended; these were its last seconds", True
    elif behind_s < STALE_S:
        status, alarm = "live", False
    elif isinstance(pid, int) and _is_running(pid):
        status, alarm = f"the file has not grown for {behind_s:.0f} s: nothing happens (pid {pid} is running)", True
    else:
        status, alarm = f"the file has not grown for {behind_s:.0f} s and pid {pid} is gone: it was killed", True
    return Heading(title, status, alarm, sum(tail.dropped.values()))


def _is_running(pid: int) -> bool:
    return pid > 0 and os.path.exists(f"/proc/{pid}")


@contextmanager
def _keys() -> Iterator[int | None]:
    """Standard input, delivering single keys while the context lasts; None when it is no terminal."""
    if not sys.stdin.isatty():
        yield None
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _quits(keyboard: int | None, interval_s: float) -> bool:
    """Waits for the interval, or for a key; True when it is q, or when the terminal is gone."""
    import select

    if keyboard is None:
        time.sleep(interval_s)
        return False
    ready, _, _ = select.select([keyboard], [], [], interval_s)
    if not ready:
        return False
    pressed = os.read(keyboard, 64)
    return not pressed or b"q" in pressed or b"Q" in pressed
