"""Which runs count: what spoils one, what only gets a note, and what a setting that did not take effect means."""

from __future__ import annotations

from typing import Any

import pytest

from minicomp.lab.experiments.session import Session
from minicomp.lab.experiments.spec import Arm, Validity
from minicomp.lab.experiments.validity import DISTURBED, FAILED, OK, UNTREATED, judge, judge_session

FINE = {
    "cpu_share": {"steal": 0.001},
    "others_share": 0.02,
    "thermal_throttles": 0,
}
FIFO = {
    "name": "knobs.render",
    "wanted": {"class": "fifo"},
    "effective": {"class": "fifo"},
    "took_effect": True,
    "note": "",
}
ARM = Arm(name="fifo", settings={"knobs.render.class": "fifo", "pacing.mode": "adaptive"})


def session(**changed: Any) -> Session:
    return Session(
        **{"settings_before": {"thp": "never"}, "settings_after": {"thp": "never"}, "during": FINE, **changed}
    )


def facts(**changed: Any) -> dict[str, Any]:
    config = {"pacing": {"mode": "adaptive"}, "knobs": {"render": {"class": "fifo"}}}
    return {"dropped": 0, "cut_short": None, "knobs": [FIFO], "config": config, **changed}


def counts(**changed: Any) -> dict[str, Any]:
    return {"shown": 600, "vblanks": 600, "throttled": 0, **changed}


def test_a_good_run() -> None:
    assert judge(session(), facts(), counts(), ARM, Validity()) == (OK, (), ())


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        ({"during": {**FINE, "cpu_share": {"steal": 0.05}}}, "the hypervisor took 5.0% of the CPU time (limit 2.0%)"),
        ({"during": {**FINE, "others_share": 0.3}}, "other programs had 30.0% of the CPU time (limit 10.0%)"),
        ({"during": {**FINE, "thermal_throttles": 3}}, "throttled for heat 3 times"),
        ({"settings_after": {"thp": "always"}}, "the machine's thp was never before and always after"),
        ({"settings_after": {}}, "the machine's thp was never before and absent after"),
    ],
)
def test_what_the_machine_did_disturbs(spoiled: dict[str, Any], words: str) -> None:
    judgement = judge(session(**spoiled), facts(), counts(), ARM, Validity())
    assert judgement.status == DISTURBED
    assert len(judgement.reasons) == 1 and words in judgement.reasons[0]


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [({"dropped": 7}, "7 trace records were dropped"), ({"cut_short": "cut off"}, "the run file ends early: cut off")],
)
def test_lost_records_disturb(spoiled: dict[str, Any], words: str) -> None:
    assert judge(session(), facts(**spoiled), counts(), ARM, Validity())[:2] == (DISTURBED, (words,))


def test_a_client_that_showed_nothing_disturbs_and_a_slow_one_does_not() -> None:
    """The limit is far below what a starved compositor shows: no arm is spared its bad runs."""
    assert judge(session(), facts(), counts(shown=3), ARM, Validity()).status == DISTURBED
    assert judge(session(), facts(), counts(shown=90), ARM, Validity()).status == OK


def test_a_throttled_deadline_thread_stays_in_unless_the_file_says_otherwise() -> None:
    kept = judge(session(), facts(), counts(throttled=4), ARM, Validity())
    assert (kept.status, kept.notes) == (OK, ("deadline throttled 4 times",))
    left_out = judge(session(), facts(), counts(throttled=4), ARM, Validity(throttled="leave-out"))
    assert (left_out.status, left_out.reasons) == (DISTURBED, ("deadline throttled 4 times",))


def test_a_knob_that_the_kernel_ignored_is_no_treatment() -> None:
    """It counts more than a disturbance, and both are named."""
    ignored = {**FIFO, "effective": {"class": "other"}, "took_effect": False, "note": "EPERM: needs CAP_SYS_NICE"}
    judgement = judge(session(), facts(knobs=[ignored], dropped=1), counts(), ARM, Validity())
    assert judgement.status == UNTREATED
    assert "knobs.render is" in judgement.reasons[0] and "needs CAP_SYS_NICE" in judgement.reasons[0]
    assert "dropped" in judgement.reasons[1]


def test_a_knob_that_nobody_tells_of_is_no_treatment() -> None:
    judgement = judge(session(), facts(knobs=[]), counts(), ARM, Validity())
    assert judgement.status == UNTREATED and "knobs.render.class" in judgement.reasons[0]
    # What all arms get for fairness is worth a note only.
    fair = Arm(name="plain", settings={"pacing.mode": "adaptive", "knobs.system.timer_slack_ns": 1})
    plain = facts(knobs=[], config={"pacing": {"mode": "adaptive"}, "knobs": {"system": {"timer_slack_ns": 1}}})
    judgement = judge(session(), plain, counts(), fair, Validity())
    assert judgement.status == OK and "timer_slack_ns" in judgement.notes[0]


def test_a_setting_that_became_another_is_no_treatment() -> None:
    config = {"pacing": {"mode": "asap"}, "knobs": {"render": {"class": "fifo"}}}
    judgement = judge(session(), facts(config=config), counts(), ARM, Validity())
    assert (judgement.status, judgement.reasons) == (UNTREATED, ("pacing.mode is asap, not adaptive",))


def test_a_missing_load_is_noted() -> None:
    judgement = judge(session(missing_loads=("stress-ng: not installed",)), facts(), counts(), ARM, Validity())
    assert (judgement.status, judgement.notes) == (OK, ("load missing: stress-ng: not installed",))


def test_without_a_run_file() -> None:
    assert judge_session(Session(refused="EPERM")) == (UNTREATED, ("EPERM",), ())
    assert judge_session(Session(failure="it crashed")) == (FAILED, ("it crashed",), ())
    assert judge_session(session()) is None
