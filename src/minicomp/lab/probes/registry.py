"""Finds the probes: the `PROBES` of the modules in the sections' folders; a module without any is what others share."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from minicomp.errors import ConfigError
from minicomp.lab import probes
from minicomp.lab.probes.probe import SECTIONS, Probe


def all_probes() -> list[Probe]:
    """By section, then by module and the order in it. ValueError for two of one name, or one in a wrong folder."""
    found: dict[str, Probe] = {}
    for number, (folder, _) in SECTIONS.items():
        for module in pkgutil.iter_modules([f"{path}/{folder}" for path in probes.__path__]):
            found_here: tuple[Probe, ...] = getattr(
                import_module(f"{probes.__name__}.{folder}.{module.name}"), "PROBES", ()
            )
            for probe in found_here:
                if probe.name in found:
                    raise ValueError(f"two probes are called {probe.name}")
                if probe.section != number:
                    raise ValueError(f"{probe.name} says section {probe.section}, but is in {folder}/")
                found[probe.name] = probe
    return list(found.values())


def choose(wanted: list[str]) -> list[Probe]:
    """The probes that names, section numbers or section names ask for; all of them for an empty list."""
    every = all_probes()
    if not wanted:
        return every
    chosen: list[Probe] = []
    for word in wanted:
        fitting = [probe for probe in every if word in (probe.name, str(probe.section), SECTIONS[probe.section][0])]
        if not fitting and word not in SECTIONS_BY_WORD:
            raise ConfigError(f'no probe and no section is called "{word}"', todo="minicomp lab probe --list")
        chosen += [probe for probe in fitting if probe not in chosen]
    return chosen


SECTIONS_BY_WORD = {word for number, (name, _) in SECTIONS.items() for word in (str(number), name)}
