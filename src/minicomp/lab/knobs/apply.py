"""A session of knobs: applies what a configuration sets, reads it back, follows changes, and undoes everything.

One session belongs to one compositor. Its methods may be called from any Python thread. `minicomp.compositor.knobs`
makes it for a running compositor; for others (`minicomp msg knob set`) the way in is that module's
`apply_change(compositor, dotted_key, value) -> Effect`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from minicomp.config.knobs import KnobSettings
from minicomp.config.validation import ValidationError, convert, to_builtins
from minicomp.errors import ConfigError, PreconditionError
from minicomp.lab.knobs.hands import OwnHands
from minicomp.lab.knobs.helper_client import NoHelper
from minicomp.lab.knobs.knob import Effect, Knob, KnobRefused, Stage, Subject
from minicomp.lab.knobs.registry import knobs_for

log = logging.getLogger("minicomp.knobs")


class KnobSession:
    """`describe` says, whenever it is called, what the knobs are for."""

    def __init__(self, settings: KnobSettings, describe: Callable[[], Subject]) -> None:
        self._settings = settings
        self._describe = describe
        self._hands = OwnHands()
        self._lock = threading.RLock()
        self._applied: dict[str, Knob] = {}
        self._effects: dict[str, Effect] = {}
        self.changes = 0  # grows whenever an effect may be new

    @property
    def settings(self) -> KnobSettings:
        return self._settings

    def start_helper(self) -> None:
        """Before privileges are dropped. Raises PreconditionError with strict; else what needs it will say so."""
        try:
            self._hands.start_helper()
        except NoHelper as error:
            if self._settings.strict:
                raise PreconditionError(f"the root helper: {error}", where="knobs") from None
            log.warning("the root helper could not be started: %s", error)

    def apply(self, stage: Stage) -> list[Effect]:
        """Applies the knobs of a stage; their effects. With strict the first that fails raises PreconditionError."""
        with self._lock:
            subject = self._describe()
            knobs = [knob for knob in knobs_for(self._settings) if knob.stage == stage]
            for knob in knobs:
                effect = self._apply(knob, subject)
                if not effect.took_effect and self._settings.strict:
                    raise PreconditionError(_with_name(effect))
            # What comes later can undo what came before (a class resets the slack): the last word counts.
            return [self._read_back(knob, subject) if self._took(knob) else self._effects[knob.name] for knob in knobs]

    def effects(self) -> list[Effect]:
        """Every knob that is set, read back now."""
        with self._lock:
            subject = self._describe()
            for knob in self._applied.values():
                self._read_back(knob, subject)
            return list(self._effects.values())

    def change(self, dotted_key: str, value: Any) -> Effect:
        """Sets one key ("knobs.render.class"), or a table as a whole ("knobs.loop", {...}), while the compositor runs.

        None gives the setting back to the kernel. Raises ConfigError (no such key, not such a value), KnobRefused; what
        was in force before then still is.
        """
        with self._lock:
            settings = _changed(self._settings, dotted_key, value)
            subject = self._describe()
            before = {knob.name: knob for knob in knobs_for(self._settings)}
            after = {knob.name: knob for knob in knobs_for(settings)}
            result: Effect | None = None
            for name in [*after, *(name for name in before if name not in after)]:
                old, new = before.get(name), after.get(name)
                if old is not None and new is not None and old.wanted == new.wanted:
                    continue
                result = self._replace(name, old, new, subject)
            self._settings = settings
            if result is None:
                named = [effect for name, effect in self._effects.items() if _names(name, dotted_key)]
                result = named[0] if named else Effect(dotted_key, value, value, True, "nothing to change")
            return result

    def update(self) -> None:
        """To be called a few times a second: knobs follow the outputs' modes, measured costs and new clients."""
        if not self._applied or not self._lock.acquire(blocking=False):
            return  # a change is being made; there will be another time
        try:
            subject = self._describe()
            for knob in self._applied.values():
                try:
                    if knob.update(subject, self._hands):
                        effect = self._read_back(knob, subject)
                        log.info("%s: now %s%s", knob.name, _shown(effect.effective), _in_brackets(effect.note))
                except KnobRefused as error:
                    log.warning("%s (%s)", error, error.remedy)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Undoes everything, last first. Safe to call twice."""
        with self._lock:
            self._applied.clear()
            for line in self._hands.close():
                log.error("a knob could not be undone: %s", line)

    def _apply(self, knob: Knob, subject: Subject) -> Effect:
        try:
            knob.apply(subject, self._hands)
        except KnobRefused as error:
            effect = error.as_effect()
            self._effects[knob.name] = effect
            self.changes += 1
        else:
            self._applied[knob.name] = knob
            effect = self._read_back(knob, subject)
        if effect.took_effect:
            log.info("%s: %s%s", knob.name, _shown(effect.effective), _in_brackets(effect.note))
        else:
            log.warning("did not take effect: %s", _with_name(effect))
        return effect

    def _replace(self, name: str, old: Knob | None, new: Knob | None, subject: Subject) -> Effect:
        """From one value of a knob to another, by way of the kernel's. Raises KnobRefused; the old is then in force."""
        was = self._applied.pop(name, None)
        for line in self._hands.undo(name):
            log.error("a knob could not be undone: %s", line)
        self._effects.pop(name, None)
        self.changes += 1
        if new is None:
            assert old is not None
            return old.read_back(subject)._replace(wanted=None, took_effect=True, note="as it was before")
        try:
            new.apply(subject, self._hands)
        except KnobRefused:
            self._hands.undo(name)
            if was is not None:
                self._apply(was, subject)
            raise
        self._applied[name] = new
        return self._read_back(new, subject)

    def _read_back(self, knob: Knob, subject: Subject) -> Effect:
        effect = knob.read_back(subject)
        if self._effects.get(knob.name) != effect:
            self._effects[knob.name] = effect
            self.changes += 1
        return effect

    def _took(self, knob: Knob) -> bool:
        return knob.name in self._applied


def _changed(settings: KnobSettings, dotted_key: str, value: Any) -> KnobSettings:
    """The settings with one key replaced. Raises ConfigError."""
    where = f"{dotted_key} = {_shown(value)}"
    parts = dotted_key.split(".")
    if parts[0] != "knobs" or len(parts) not in (2, 3):
        raise ConfigError("no knob; they are knobs.TABLE.KEY", where=where, todo="docs/knobs.md lists them")
    tables = to_builtins(settings)
    table = tables
    if len(parts) == 3:
        table = tables.get(parts[1])
        if not isinstance(table, dict):
            raise ConfigError(f"no such table; there are {', '.join(sorted(_tables(tables)))}", where=where)
    if parts[-1] not in table:
        raise ConfigError(f"no such key; there are {', '.join(table)}", where=where)
    if value is None:
        value = to_builtins(KnobSettings())
        for part in parts[1:]:
            value = value[part]
    table[parts[-1]] = value
    try:
        return convert(tables, KnobSettings)
    except ValidationError as error:
        from minicomp.config.explain import explained
        from minicomp.config.overrides import Override

        message = str(error).replace("at `$", "at `$.knobs", 1)
        raise explained(message, {"knobs": tables}, "", None, [Override(tuple(parts), value, where)]) from None


def _with_name(effect: Effect) -> str:
    """Why a knob is not in effect. A refusal names the knob itself."""
    if effect.note.startswith(effect.name):
        return effect.note
    return f"{effect.name}: {effect.note or 'the kernel says something else'}"


def _tables(settings: dict[str, Any]) -> list[str]:
    return [name for name, value in settings.items() if isinstance(value, dict)]


def _names(knob: str, dotted_key: str) -> bool:
    return dotted_key == knob or dotted_key.startswith(f"{knob}.")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={inner}" for key, inner in value.items())
    return str(value)


def _in_brackets(note: str) -> str:
    return f" ({note})" if note else ""
