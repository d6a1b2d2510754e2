"""The families of knobs, in the order in which they are applied: where a thread may run before how urgent it is.

Importing this makes every family's operations and files known, which is what the helper needs before it can judge a
request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicomp.lab.knobs import cpuset, hugepages, lock, memory, operations, scheduler, system

if TYPE_CHECKING:
    from minicomp.config.knobs import KnobSettings
    from minicomp.lab.knobs.knob import Knob

FAMILIES = (system, hugepages, memory, lock, cpuset, scheduler)


def knobs_for(settings: KnobSettings) -> list[Knob]:
    """Every knob that the settings turn."""
    return [knob for family in FAMILIES for knob in family.knobs(settings)]


def operation_from_wire(message: Any) -> operations.Operation:
    """The operation that a decoded JSON object stands for. Raises operations.Forbidden."""
    return operations.from_wire(message)
