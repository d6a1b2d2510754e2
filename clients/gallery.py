#!/usr/bin/env python3
"""gallery: shows one shell feature, or all of them, in flat known colours, for screenshots and pixel tests.

Prints one JSON line, {"type": "ready", ...}, when everything is shown, then stays until SIGTERM, SIGINT or
--duration-s. The colours are in gallery_scenes.py and in `gallery --help`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time

from gallery_scenes import COLOURS, SCENES
from gallery_shell import Disconnected, MissingGlobal, NotShown, Shell, Stopped

EXIT_OK, EXIT_USAGE, EXIT_NO_COMPOSITOR, EXIT_DISCONNECTED, EXIT_NOT_SHOWN = 0, 1, 2, 3, 5


class Parser(argparse.ArgumentParser):
    """argparse ends with 2 on wrong usage; for all our clients 2 means that there is no compositor."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"gallery: {message}\n")


def parse_arguments() -> argparse.Namespace:
    colours = "\n".join(f"  {name:18} {colour:06x}" for name, colour in COLOURS.items())
    parser = Parser(
        prog="gallery",
        description="Shows shell features in flat known colours, for screenshots and pixel tests.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"colours:\n{colours}\n\nThe ready line lists every element with its colour, size and place.\n"
        "exit code: 0 done; 1 wrong usage; 2 no compositor, or it lacks a global that the scene needs;\n"
        "3 protocol error or disconnected; 5 an element was not shown within --timeout-s",
    )
    parser.add_argument(
        "--scene", choices=SCENES, default="all", metavar="SCENE", help=f"{', '.join(SCENES)}; default: all"
    )
    parser.add_argument("--duration-s", type=float, help="end after this many seconds")
    parser.add_argument("--timeout-s", type=float, default=10.0, help="for everything to be shown; default 10")
    return parser.parse_args()


def watch_signals() -> int:
    """An fd that becomes readable when SIGTERM or SIGINT arrives; Python's own handlers do nothing else."""
    receiver, sender = socket.socketpair()
    for end in (receiver, sender):
        end.setblocking(False)
    signal.set_wakeup_fd(sender.detach())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda signum, frame: None)
    return receiver.detach()


def run(arguments: argparse.Namespace) -> int:
    try:
        shell = Shell(watch_signals(), arguments.timeout_s)
    except ValueError:  # pywayland's own
        print("gallery: cannot connect to a compositor", file=sys.stderr)
        return EXIT_NO_COMPOSITOR
    try:
        shell.start()
        return show(shell, arguments)
    finally:
        # Python restores default handlers while it exits: a second SIGTERM would then spoil the exit code.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        shell.close()


def show(shell: Shell, arguments: argparse.Namespace) -> int:
    end_s = None if arguments.duration_s is None else time.monotonic() + arguments.duration_s
    SCENES[arguments.scene](shell)
    ready = {
        "type": "ready",
        "scene": arguments.scene,
        "pid": os.getpid(),
        "ready_ns": time.monotonic_ns(),
        "elements": [element.describe() for element in shell.elements],
    }
    print(json.dumps(ready), flush=True)
    while end_s is None or time.monotonic() < end_s:
        shell.pump(end_s)
    return EXIT_OK


def main() -> int:
    arguments = parse_arguments()
    try:
        return run(arguments)
    except Stopped:
        return EXIT_OK
    except MissingGlobal as missing:
        print(f"gallery: the compositor does not offer {missing}", file=sys.stderr)
        return EXIT_NO_COMPOSITOR
    except NotShown as missing:
        print(f"gallery: not shown in {arguments.timeout_s:g} s: {missing}", file=sys.stderr)
        return EXIT_NOT_SHOWN
    except Disconnected as reason:
        print(f"gallery: the connection ended: {reason}", file=sys.stderr)
        return EXIT_DISCONNECTED


if __name__ == "__main__":
    sys.exit(main())
