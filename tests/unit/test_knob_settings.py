"""[knobs] in a configuration: what is accepted, what is said about mistakes, and what a session makes of changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minicomp.config import Override, load
from minicomp.config.knobs import KnobSettings, ThreadKnobs
from minicomp.config.show import as_toml
from minicomp.errors import ConfigError, PreconditionError
from minicomp.lab.knobs.apply import KnobSession
from minicomp.lab.knobs.knob import Effect, KnobRefused, Stage, Subject
from minicomp.lab.knobs.refusals import scheduling_refused
from minicomp.lab.knobs.reservation import Reservation, is_worth_changing, reservation

MS = 1_000_000


def knobs(**values: object) -> KnobSettings:
    overrides = [Override(("knobs", *key.split("__")), value, key) for key, value in values.items()]
    return load(None, overrides).knobs


def test_without_knobs_nothing_is_set() -> None:
    assert not KnobSettings().is_set()
    assert not knobs(strict=True).is_set(), "strict alone does nothing"
    assert knobs(cpuset__render_cpus="1").is_set()
    assert knobs(render__nice=0).is_set(), "0 is a value"
    assert knobs(system__autogroup=False).is_set()
    assert knobs(drop_privileges=True).is_set()


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"render__class": "deadlin"}, 'did you mean "deadline"'),
        ({"render__priority": 5}, "priority has no meaning for class other; it needs class fifo or rr"),
        ({"loop__class": "fifo", "loop__nice": 5}, "nice has no meaning for class fifo"),
        ({"render__class": "fifo", "render__priority": 0}, "1 to 99"),
        ({"render__class": "deadline", "render__derive": False}, "derive = false needs runtime_us"),
        ({"render__class": "deadline", "render__derive": True, "render__runtime_us": 9}, "either given or derived"),
        (
            {"render__class": "deadline", "render__runtime_us": 9, "render__deadline_us": 8},
            "runtime_us <= deadline_us <= period_us",
        ),
        ({"render__slice_us": 50}, "100 to 100000"),
        ({"cpuset__render_cpus": "0-"}, 'a list such as "0,2-3"'),
        ({"thp__mthp": {"64": "sometimes"}}, "always, inherit, madvise, never"),
        ({"system__timer_slack_ns": 0}, "1 to 1000000000"),
        ({"sistem__governor": "x"}, 'did you mean "system"'),
        ({"render__klass": "fifo"}, 'did you mean "class"'),
    ],
)
def test_mistakes_get_one_line(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        knobs(**values)
    assert complaint in str(caught.value)


def test_the_shown_configuration_loads_to_the_same(tmp_path: Path) -> None:
    overrides = [
        Override(("knobs", "render", "class"), "deadline", ""),
        Override(("knobs", "render", "headroom"), 2.5, ""),
        Override(("knobs", "thp", "mthp"), {"64": "always"}, ""),
        Override(("knobs", "cpuset", "other_cpus"), "0,2-3", ""),
    ]
    config = load(None, overrides)
    file = tmp_path / "shown.toml"
    file.write_text(as_toml(config))
    assert load(str(file)) == config


# ---- reservations ----


def test_a_derived_reservation_is_the_refresh_and_the_cost_with_headroom() -> None:
    settings = ThreadKnobs(policy="deadline")
    assert reservation(settings, "render", 16 * MS, 2 * MS) == Reservation(3 * MS, 16 * MS, 16 * MS)
    assert reservation(settings, "render", 10 * MS, 0) == Reservation(3 * MS, 10 * MS, 10 * MS)
    assert reservation(settings, "loop", 10 * MS, 0) == Reservation(2 * MS, 10 * MS, 10 * MS)
    assert reservation(settings, "render", 0, 2 * MS).period_ns == 16_666_667
    assert reservation(settings, "render", 10 * MS, 50 * MS).runtime_ns == 9 * MS, "never the whole period"
    assert reservation(settings, "render", 10 * MS, 1000).runtime_ns == 1_250_000


def test_what_is_given_is_taken() -> None:
    settings = ThreadKnobs(policy="deadline", runtime_us=2000, deadline_us=5000, period_us=9000)
    assert reservation(settings, "render", 16 * MS, 8 * MS) == Reservation(2 * MS, 5 * MS, 9 * MS)
    long = ThreadKnobs(policy="deadline", runtime_us=20_000)
    assert reservation(long, "render", 16 * MS, 0) == Reservation(20 * MS, 20 * MS, 20 * MS)
    derived = ThreadKnobs(policy="deadline", derive=True, deadline_us=5000, headroom=2.0)
    assert reservation(derived, "render", 16 * MS, 1 * MS) == Reservation(2 * MS, 5 * MS, 16 * MS)


def test_small_shifts_are_not_worth_a_system_call() -> None:
    present = Reservation(3 * MS, 16 * MS, 16 * MS)
    assert not is_worth_changing(present, present._replace(runtime_ns=3_500_000))
    assert is_worth_changing(present, present._replace(runtime_ns=3_700_000))
    assert is_worth_changing(present, present._replace(runtime_ns=2_000_000))
    assert is_worth_changing(present, Reservation(3 * MS, 10 * MS, 10 * MS)), "the mode changed"


# ---- refusals ----


def test_the_same_errno_has_different_reasons() -> None:
    def text(policy: str, number: int) -> str:
        return str(scheduling_refused("knobs.render", policy, policy, os.getpid(), OSError(number, "")))

    assert text("deadline", 16) != text("deadline", 1)
    assert "EBUSY" in text("deadline", 16)
    assert "deadline thread may not make threads" in text("deadline", 11)
    assert "1024 ns <= runtime" in text("deadline", 22)
    assert "1 to 99" in text("fifo", 22)
    assert "the thread has ended" in text("other", 3)


# ---- a session, on this very process ----


@pytest.fixture
def session() -> KnobSession:
    return KnobSession(KnobSettings(), lambda: Subject(os.getpid()))


def test_a_change_to_no_knob_is_a_mistake(session: KnobSession) -> None:
    for key, value in (
        ("render.class", "fifo"),
        ("knobs.render", 7),
        ("knobs.rendr.class", "fifo"),
        ("knobs.render.klass", "fifo"),
        ("knobs.render.class", "fof"),
        ("knobs.render.priority", 7),
    ):
        with pytest.raises(ConfigError):
            session.change(key, value)
    assert session.settings == KnobSettings()


def test_what_the_compositor_does_not_have_is_refused(session: KnobSession) -> None:
    with pytest.raises(KnobRefused, match="there is no render thread"):
        session.change("knobs.render.class", "other")
    assert session.settings == KnobSettings(), "a refused change is none"
    assert session.effects() == []


def test_strict_makes_an_error_of_a_refusal() -> None:
    settings = KnobSettings(render=ThreadKnobs(policy="other"))
    with_warning = KnobSession(settings, lambda: Subject(os.getpid()))
    (effect,) = with_warning.apply(Stage.RUNNING)
    assert effect == Effect("knobs.render", {"class": "other"}, None, False, effect.note)
    strict = KnobSession(KnobSettings(strict=True, render=ThreadKnobs(policy="other")), lambda: Subject(os.getpid()))
    with pytest.raises(PreconditionError, match="there is no render thread"):
        strict.apply(Stage.RUNNING)


def test_slices_of_a_thread_are_set_changed_and_given_back() -> None:
    """On this thread, which may do so without privileges; read back from /proc."""
    tid = os.getpid()

    def slice_ns() -> int:
        lines = Path(f"/proc/{tid}/task/{tid}/sched").read_text().splitlines()
        found = [line.split(":")[1] for line in lines if line.startswith("se.slice")]
        if not found:
            pytest.skip("this kernel shows no se.slice (before 6.12, or without CONFIG_SCHED_DEBUG)")
        return int(found[0])

    before = slice_ns()
    session = KnobSession(KnobSettings(), lambda: Subject(tid, loop_tid=tid))
    effect = session.change("knobs.loop.slice_us", 700)
    assert (effect.took_effect, effect.effective["slice_us"], slice_ns()) == (True, 700.0, 700_000)
    assert session.change("knobs.loop", {"slice_us": 900}).took_effect
    assert slice_ns() == 900_000
    assert [effect.name for effect in session.effects()] == ["knobs.loop"]
    back = session.change("knobs.loop.slice_us", None)
    assert (back.wanted, slice_ns()) == (None, before)
    session.change("knobs.loop.slice_us", 700)
    session.close()
    assert slice_ns() == before
    session.close()
