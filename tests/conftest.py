"""For all tests: the signals that their child processes inherit, and the shell that terminals start."""

from __future__ import annotations

import os
import signal

# A job started in the background by a shell without job control ignores SIGINT, and so would every program that the
# tests start to see how it takes an interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Not the user's own: what it reads at its start may take as long as it likes, and a terminal that is killed meanwhile may
# leave it locked for the next one.
os.environ["SHELL"] = "/bin/sh"
os.environ.pop("ENV", None)
