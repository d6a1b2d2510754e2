"""Reads an experiment file: TOML to an Experiment, or one line about the first mistake, with FILE:LINE.

Every arm is checked as the configuration that it will be, so that a typing error is found before the first run, not in
the middle of the night. What a fair comparison needs is added where the file does not say otherwise (`FAIR`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from minicomp.config import Override, load
from minicomp.config.load import parse_toml, read_text
from minicomp.config.locate import PathPart, line_of
from minicomp.config.validation import ValidationError, convert, to_builtins
from minicomp.errors import ConfigError
from minicomp.lab.experiments.spec import NAME_WORDS, Arm, Experiment, ExperimentFile, Schedule

FAIR: dict[str, Any] = {
    # Timer slack becomes 0 in the real-time classes (sched(7), hrtimer_nanosleep): with the default of 50 us, half of
    # a "win" of theirs may be only that.
    "knobs.system.timer_slack_ns": 1,
    # What a treatment needs and cannot have ends the run at once, with the kernel's reason.
    "knobs.strict": True,
    "log.level": "warning",
}
OWN = {"backend.kind", "backend.clock", "backend.socket", "trace.path", "app.command"}
"""Keys that the runner sets for each run."""
ABOUT = "about"


def read_experiment(file: str) -> Experiment:
    """The experiment in `file`. Raises ConfigError."""
    text = read_text(file)
    tables = parse_toml(text, file)
    try:
        written = convert(tables, ExperimentFile)
    except ValidationError as error:
        from minicomp.config.explain import explained

        raise explained(str(error), tables, text, file, (), ExperimentFile) from None

    def place(*path: PathPart) -> str:
        return f"{file}:{line_of(text, path)}"

    base = _flat(written.base, ("base",), place)
    arms = tuple(_arm(name, table, base, place) for name, table in written.arms.items())
    if not arms:
        raise ConfigError("an experiment needs at least one [arm.NAME]", where=place("arm"))
    names = [arm.name for arm in arms]
    for index, one_load in enumerate(written.loads):
        for name in one_load.arms:
            if name not in names:
                raise ConfigError(
                    f'there is no arm "{name}"; there are: {", ".join(names)}', where=place("load", index, "arms")
                )
    baseline = written.baseline or names[0]
    if baseline not in names:
        raise ConfigError(f'there is no arm "{baseline}"; there are: {", ".join(names)}', where=place("baseline"))
    return Experiment(
        name=written.name,
        question=written.question,
        arms=arms,
        clients=written.clients,
        loads=written.loads,
        schedule=written.schedule,
        quick=convert(to_builtins(written.quick), Schedule),
        validity=written.validity,
        backend=written.backend,
        seed=written.seed,
        baseline=baseline,
    )


def set_argument(key: str, value: Any) -> str:
    """`KEY=VALUE` for `minicomp run --set`, with the value as TOML."""
    return f"{key}={_toml(value)}"


def _arm(name: str, table: Mapping[str, Any], base: Mapping[str, tuple[Any, str]], place: Any) -> Arm:
    about = table.get(ABOUT, "")
    if not isinstance(about, str):
        raise ConfigError(f"{ABOUT} is a sentence in quotes", where=place("arm", name, ABOUT))
    own = _flat({key: value for key, value in table.items() if key != ABOUT}, ("arm", name), place)
    settings = {key: value for key, (value, _) in {**base, **own}.items()}
    places = {key: where for key, (_, where) in {**base, **own}.items()}
    for key, value in FAIR.items():
        if key not in settings:
            settings[key], places[key] = value, place("arm", name)
    # Checks keys and values; the places are those of the file.
    load(None, [Override(tuple(key.split(".")), value, places[key]) for key, value in settings.items()])
    try:
        return convert({"name": name, "settings": settings, ABOUT: about}, Arm)
    except ValidationError:
        raise ConfigError(f'an arm cannot be called "{name}"', where=place("arm", name), todo=NAME_WORDS) from None


def _flat(table: Mapping[str, Any], path: tuple[str, ...], place: Any) -> dict[str, tuple[Any, str]]:
    """`section.key` -> (value, FILE:LINE). Raises ConfigError for keys that are the runner's."""
    found = {}
    for keys, value in _leaves(table):
        name = ".".join(keys)
        where = place(*path, *keys)
        if name in OWN:
            raise ConfigError(f"{name} is set by the experiment for each run", where=where, todo="leave it out")
        if any("." in key for key in keys):
            raise ConfigError(f"{name}: a key with a dot inside cannot be overridden", where=where)
        found[name] = (value, where)
    return found


def _leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value) if isinstance(value, str | bool) else str(value)
