"""For all tests: the signals that their child processes inherit."""

from __future__ import annotations

import signal

# A job started in the background by a shell without job control ignores SIGINT, and so would every program that the
# tests start to see how it takes an interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
