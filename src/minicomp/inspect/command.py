"""`minicomp inspect PID|self [--with PID]... [--json]`."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence

from minicomp.errors import ExitCode
from minicomp.inspect.report import as_dict, as_table, inspect_process

_DESCRIPTION = """\
The file descriptors of a process: what each is, what lies queued in it, and which are one open file (struct file).

dma-bufs have size, exporter and references; epoll what it watches; sockets their other end, unread bytes and the fds
(SCM_RIGHTS) that lie in them; fds that share a struct file are found with kcmp(2), also between processes."""

_EXAMPLES = """\
examples:
  minicomp inspect $(pgrep -f 'minicomp run')       the compositor's
  minicomp inspect 4711 --with 4712                 which open files, dma-bufs for instance, both have
  minicomp inspect 4711 --json | jq '.fds[] | select(.kind == "dmabuf")'

exit codes:
  0   looked at
  2   wrong usage, or there is no such process
  69  its descriptors may not be seen: another user's process (ptrace access is needed)
"""


def main(arguments: Sequence[str]) -> int:
    """Runs `minicomp inspect ARGUMENTS`."""
    parser = argparse.ArgumentParser(
        prog="minicomp inspect",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pid", metavar="PID|self", type=_pid, help="the process; self is this command itself")
    parser.add_argument(
        "--with",
        dest="others",
        metavar="PID",
        type=_pid,
        action="append",
        default=[],
        help="also compare with this process's open files; as often as needed",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)
    report = inspect_process(options.pid, options.others)
    print(json.dumps(as_dict(report), indent=2) if options.json else as_table(report))
    return ExitCode.OK


def _pid(text: str) -> int:
    if text == "self":
        return os.getpid()
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f'"{text}" is no process id; give a number or self')
    return int(text)
