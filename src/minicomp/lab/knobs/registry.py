"""The families of knobs, in the order in which they are applied: where a thread may run before how urgent it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minicomp.config.knobs import KnobSettings
    from minicomp.lab.knobs.knob import Knob


def knobs_for(settings: KnobSettings) -> list[Knob]:
    """Every knob that the settings turn."""
    families: list[list[Knob]] = []
    return [knob for family in families for knob in family]
