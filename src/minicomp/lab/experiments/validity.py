"""Whether a run counts: ok, untreated, disturbed or failed, with every reason in words.

untreated   a setting of the arm did not take effect: what was measured is not the arm
disturbed   something that has nothing to do with the arm spoiled the run: neighbours, a hypervisor, lost records
failed      there is nothing to evaluate

A run is never left out for its result alone. That is why throttling of a deadline thread is a note unless the file asks
for more, and why only a nearly complete lack of frames (a client that hung) disturbs. Notes do not exclude.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from minicomp.lab.experiments import host
from minicomp.lab.experiments.read import FAIR
from minicomp.lab.experiments.session import Session
from minicomp.lab.experiments.spec import Arm, Validity

HOW = ("knobs.strict", "knobs.drop_privileges")
"""How knobs are applied: no knobs themselves."""
OK, UNTREATED, DISTURBED, FAILED = "ok", "untreated", "disturbed", "failed"


class Judgement(NamedTuple):
    status: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def judge_session(session: Session) -> Judgement | None:
    """What can be said without a run file; None: the run file decides."""
    if session.refused:
        return Judgement(UNTREATED, (session.refused,))
    if session.failure:
        return Judgement(FAILED, (session.failure,))
    return None


def judge(
    session: Session, facts: Mapping[str, Any], counts: Mapping[str, Any], arm: Arm, limits: Validity
) -> Judgement:
    """The verdict on a run with a run file. `facts` are `rows.facts`, `counts` are `runner`'s."""
    early = judge_session(session)
    if early is not None:
        return early
    notes = [f"load missing: {load}" for load in session.missing_loads]
    disturbed = [*_disturbances(session, facts, counts, limits)]
    throttled = counts["throttled"]
    if throttled:
        word = "deadline throttled once" if throttled == 1 else f"deadline throttled {throttled} times"
        (disturbed if limits.throttled == "leave-out" else notes).append(word)
    silent = [key for key in arm.settings if key.startswith("knobs.") and not _confirmed(key, facts["knobs"])]
    notes += [f"{key}: the compositor does not say whether it took effect" for key in silent if key in FAIR]
    if untreated := [*_lacking(facts, arm), *_unconfirmed(silent)]:
        return Judgement(UNTREATED, (*untreated, *disturbed), tuple(notes))
    if disturbed:
        return Judgement(DISTURBED, tuple(disturbed), tuple(notes))
    return Judgement(OK, (), tuple(notes))


def _lacking(facts: Mapping[str, Any], arm: Arm) -> Sequence[str]:
    """Settings that did not become what the arm says: by the knobs' own reading back, and by the configuration."""
    found = []
    for effect in facts["knobs"]:
        if not effect["took_effect"]:
            note = f": {effect['note']}" if effect.get("note") else ""
            found.append(f"{effect['name']} is {effect['effective']}, not {effect['wanted']}{note}")
    for key, wanted in arm.settings.items():
        value: Any = facts["config"]
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if _plain(value) != _plain(wanted):
            found.append(f"{key} is {value}, not {wanted}")
    return found


def _unconfirmed(silent: Sequence[str]) -> Sequence[str]:
    return [f"{key}: the compositor does not say whether it took effect" for key in silent if key not in FAIR]


def _confirmed(key: str, effects: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some effect tells of this key: by its own name, or by that of the table that is applied as one."""
    names = [effect["name"] for effect in effects]
    return key in HOW or any(key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.") for name in names)


def _disturbances(
    session: Session, facts: Mapping[str, Any], counts: Mapping[str, Any], limits: Validity
) -> Sequence[str]:
    during = session.during
    found = []
    if facts["dropped"]:
        found.append(f"{facts['dropped']} trace records were dropped")
    if facts["cut_short"]:
        found.append(f"the run file ends early: {facts['cut_short']}")
    steal, others = during["cpu_share"].get("steal", 0.0), during.get("others_share", 0.0)
    if steal > limits.max_steal_share:
        found.append(f"the hypervisor took {steal:.1%} of the CPU time (limit {limits.max_steal_share:.1%})")
    if others > limits.max_others_share:
        found.append(f"other programs had {others:.1%} of the CPU time (limit {limits.max_others_share:.1%})")
    if during["thermal_throttles"]:
        found.append(f"the CPU was throttled for heat {during['thermal_throttles']} times")
    for name, (before, after) in host.changed(session.settings_before, session.settings_after).items():
        found.append(f"the machine's {name} was {before or 'absent'} before and {after or 'absent'} after")
    if counts["shown"] < limits.min_frame_share * counts["vblanks"]:
        found.append(f"only {counts['shown']} frames were shown at {counts['vblanks']} vblanks")
    return found


def _plain(value: Any) -> Any:
    """Lists and tuples, whole and broken numbers, compared as the configuration compares them."""
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value
