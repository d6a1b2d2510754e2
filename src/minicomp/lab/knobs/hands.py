"""The hands that knobs work with: in this process where the kernel lets it, else through the helper.

What concerns the whole machine goes through the helper always, even for root: only the helper's journal outlives a
SIGKILL. What ends with a thread or with this process needs no journal.
"""

from __future__ import annotations

import errno
import logging
from typing import NamedTuple

from minicomp.lab.knobs import proc
from minicomp.lab.knobs.helper_client import REMEDY, Forbidden, HelperClient, NoHelper
from minicomp.lab.knobs.knob import KnobRefused
from minicomp.lab.knobs.operations import Operation

log = logging.getLogger("minicomp.knobs")


class _Done(NamedTuple):
    knob: str
    undoing: Operation


class OwnHands:
    """Implements `knob.Hands`. `close()` undoes everything."""

    def __init__(self) -> None:
        self._done: list[_Done] = []
        self._helper: HelperClient | None = None
        self._helped: set[str] = set()  # knobs for which the helper has done something

    def start_helper(self) -> None:
        """Starts the helper before it is needed: after privileges were dropped nobody could. Raises NoHelper."""
        if self._helper is None:
            self._helper = HelperClient()
            for line in self._helper.left:
                log.warning("a killed helper's journal was undone: %s", line)

    def do(self, knob: str, operation: Operation) -> None:
        if not operation.machine_wide:
            try:
                self._do_here(knob, operation)
                return
            except PermissionError:
                if proc.has_capability(operation.capability):
                    raise  # root would not fare better: the reason is another
        try:
            self.start_helper()
            assert self._helper is not None
            self._helped.add(knob)
            self._helper.do(knob, operation)
        except NoHelper as error:
            raise KnobRefused(knob, _shown(operation), errno.EPERM, f"the root helper: {error}", REMEDY) from None
        except Forbidden as error:
            remedy = "the helper serves the threads and files that knobs are for, and one compositor at a time"
            raise KnobRefused(knob, _shown(operation), errno.EPERM, f"the root helper: {error}", remedy) from None

    def undo(self, knob: str) -> list[str]:
        failed = self._undo_here([done for done in self._done if done.knob == knob])
        self._done = [done for done in self._done if done.knob != knob]
        if knob in self._helped and self._helper is not None:
            self._helped.discard(knob)
            try:
                failed += self._helper.undo(knob)
            except (OSError, NoHelper, Forbidden) as error:
                failed.append(f"{knob}: the root helper: {error}")
        return failed

    def close(self) -> list[str]:
        """Undoes everything, last first; what could not be undone. Safe to call twice."""
        failed = self._undo_here(self._done)
        self._done = []
        helper, self._helper = self._helper, None
        return failed + (helper.close() if helper is not None else [])

    def _do_here(self, knob: str, operation: Operation) -> None:
        undoing = operation.undoing()
        operation.perform()
        if undoing is not None:
            self._done.append(_Done(knob, undoing))

    @staticmethod
    def _undo_here(done: list[_Done]) -> list[str]:
        failed = []
        for knob, operation in reversed(done):
            try:
                operation.perform()
            except ProcessLookupError:
                pass  # the thread has ended, and its setting with it
            except OSError as error:
                failed.append(f"{knob}: {operation.kind}: {error.strerror}")
        return failed


def _shown(operation: Operation) -> str:
    return " ".join(f"{name}={value}" for name, value in operation.to_wire().items() if name != "started")
