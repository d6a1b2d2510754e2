"""The probes' framework, and those verdicts that are the same on every kernel. No measured number is judged here."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import xml.etree.ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from minicomp import cli
from minicomp.errors import ConfigError, ExitCode
from minicomp.lab.probes import runner
from minicomp.lab.probes.bpf.programs import reason
from minicomp.lab.probes.command import as_table
from minicomp.lab.probes.neighbours import Neighbours
from minicomp.lab.probes.picture import HEIGHT, WIDTH, as_svg
from minicomp.lab.probes.probe import (
    SECTIONS,
    Basis,
    Budget,
    Curve,
    Missing,
    Number,
    Probe,
    Result,
    Untestable,
    Verdict,
    cannot_test,
    holds,
    near,
)
from minicomp.lab.probes.processes import is_emulated
from minicomp.lab.probes.registry import all_probes, choose
from minicomp.lab.probes.settings import changed, controller

ALWAYS = {
    "bpf-core": Verdict.HOLDS,
    "bpf-sched-switch": Verdict.HOLDS,
    "bpf-cgroup-device": Verdict.HOLDS,
    "bpf-syscall": Verdict.HOLDS,
    "bpf-loops": Verdict.HOLDS,
    "bpf-stack": Verdict.HOLDS,
    "bpf-million": Verdict.HOLDS,
    "bpf-out-of-bounds": Verdict.HOLDS,
    "bpf-only-helpers": Verdict.DOES_NOT_HOLD,
    "bpf-freed": Verdict.HOLDS,
    "bpf-type-confusion": Verdict.HOLDS,
    "frame-sequence": Verdict.HOLDS,
    "frame-descriptors": Verdict.DOES_NOT_HOLD,
    "buffers-dma-buf": Verdict.DOES_NOT_HOLD,
    "file-open": Verdict.HOLDS,
    "file-dup": Verdict.HOLDS,
    "file-fork": Verdict.HOLDS,
    "file-close": Verdict.HOLDS,
    "scm-same-file": Verdict.HOLDS,
    "scm-when": Verdict.DOES_NOT_HOLD,
    "scm-number": Verdict.HOLDS,
    "scm-sender-closes": Verdict.HOLDS,
    "scm-in-flight": Verdict.HOLDS,
    "scm-max-fd": Verdict.HOLDS,
    "scm-receiver-full": Verdict.HOLDS,
    "scm-in-flight-limit": Verdict.HOLDS,
    "futex-built-on": Verdict.HOLDS,
    "futex-uncontended": Verdict.HOLDS,
    "futex-states": Verdict.HOLDS,
    "futex-lost": Verdict.HOLDS,
    "futex-wake-one": Verdict.HOLDS,
    "futex-inherit": Verdict.HOLDS,
    "futex-robust": Verdict.HOLDS,
    "namespace-nsproxy": Verdict.HOLDS,
    "namespace-unshare": Verdict.HOLDS,
    "namespace-clone": Verdict.HOLDS,
    "namespace-net-stack": Verdict.DOES_NOT_HOLD,
    "namespace-user-root": Verdict.HOLDS,
    "namespace-user-others": Verdict.HOLDS,
    "epoll-level": Verdict.HOLDS,
    "epoll-edge-lost": Verdict.HOLDS,
    "epoll-edge-returns": Verdict.DOES_NOT_HOLD,
    "epoll-nested": Verdict.HOLDS,
    "epoll-herd": Verdict.HOLDS,
    "epoll-exclusive": Verdict.HOLDS,
    "io-uring-syscalls": Verdict.HOLDS,
    "io-uring-fast-path": Verdict.DOES_NOT_HOLD,
    "io-uring-sqpoll": Verdict.HOLDS,
    "io-uring-sqpoll-idle": Verdict.DOES_NOT_HOLD,
}
"""Semantics: what the kernel promises, and counts of system calls and wake-ups."""


def probe_of(measure: object, **changes: object) -> Probe:
    made = Probe(name="p", section=5, statement="s", method="m", used_by="u", measure=measure)  # type: ignore[arg-type]
    return replace(made, **changes)  # type: ignore[arg-type]


def test_every_probe_says_what_it_is_about() -> None:
    probes = all_probes()
    assert probes
    for probe in probes:
        for text in (probe.statement, probe.method, probe.used_by):
            assert len(text) > 15, f"{probe.name}: {text!r}"
        assert probe.section in SECTIONS


def test_the_table_in_the_docs_is_whole() -> None:
    """After a change to a probe: the text after the mark is what `minicomp lab probe --table` prints."""
    text = (Path(__file__).parents[2] / "docs/kernel-claims.md").read_text()
    _, mark, table = text.partition("<!-- minicomp lab probe --table -->\n\n")
    assert mark
    assert table.strip() == as_table(all_probes()).strip(), "scripts/minicomp lab probe --table"


@pytest.mark.parametrize("name", ALWAYS)
def test_semantics(name: str) -> None:
    (probe,) = choose([name])
    result = runner.run(probe, quick=True)
    if result.needed and not result.error:
        pytest.skip(f"{result.seen}; needs {result.needed}")
    assert (result.verdict, result.error) == (ALWAYS[name], ""), result


def test_a_section_by_number_and_by_name() -> None:
    assert choose(["5"]) == choose(["epoll"]) == [probe for probe in all_probes() if probe.section == 5]
    assert choose(["epoll-level", "epoll"])[0].name == "epoll-level"
    assert choose(["epoll-level", "epoll-level"]) == choose(["epoll-level"])
    with pytest.raises(ConfigError, match="minicomp lab probe --list"):
        choose(["nonsense"])


def test_a_result_survives_the_way_out_of_its_process() -> None:
    wanted = holds(
        "seen", Number.of("n", "us", [3, 1, 2]), curves=[Curve("t", "x", "y", {"a": [(1.0, 2.0)]})], when=False
    )

    result = runner.run(probe_of(lambda budget: wanted), quick=True)
    assert result.seconds > 0
    assert replace(result, seconds=0.0) == wanted
    assert (result.numbers[0].value, result.numbers[0].low, result.numbers[0].high, result.numbers[0].n) == (2, 1, 3, 3)


def test_what_a_probe_changes_of_itself_dies_with_it() -> None:
    def measure(budget: Budget) -> Result:
        os.nice(5)
        os.chdir("/")
        return holds("")

    before = os.nice(0), os.getcwd()
    assert runner.run(probe_of(measure), quick=True).verdict is Verdict.HOLDS
    assert (os.nice(0), os.getcwd()) == before


def test_a_missing_prerequisite_is_the_result() -> None:
    def never(budget: Budget) -> Result:
        raise AssertionError("measured")

    missing = Missing("no moon", "a moon")
    result = runner.run(probe_of(never, requires=(lambda: None, lambda: missing)), quick=True)
    assert replace(result, seconds=0.0) == cannot_test("no moon", "a moon")


def test_what_turns_out_not_to_be_testable_is_the_result() -> None:
    def measure(budget: Budget) -> Result:
        raise Untestable("one turn only", "a machine less busy")

    result = runner.run(probe_of(measure), quick=True)
    assert replace(result, seconds=0.0) == cannot_test("one turn only", "a machine less busy")


class Alone(Neighbours):
    def share(self) -> float:
        return 0.0


class Crowded(Neighbours):
    def share(self) -> float:
        return 0.5


@pytest.mark.parametrize(
    ("basis", "doubt"),
    [
        (Basis.FACT, "near"),
        (Basis.COMPARED, "near; other programs had 50% of the CPUs"),
        (Basis.TIMES, "near; other programs had 50% of the CPUs"),
    ],
)
def test_others_load_puts_what_hangs_on_times_in_doubt(basis: Basis, doubt: str) -> None:
    probe = probe_of(lambda budget: holds("seen", doubt="near"), basis=basis)
    if basis is Basis.TIMES and is_emulated():
        pytest.skip("code is emulated here")
    assert runner.run(probe, quick=True, neighbours=Crowded()).doubt == doubt


def test_our_own_children_are_not_others() -> None:
    neighbours = Neighbours()

    def burn(budget: Budget) -> Result:
        until = time.monotonic() + 0.4
        while time.monotonic() < until:
            pass
        return holds("")

    before = neighbours_alone()
    runner.run(probe_of(burn), quick=True, neighbours=neighbours)
    assert neighbours.share() < before + 0.9 / (os.cpu_count() or 1)


def neighbours_alone() -> float:
    """What others take while we sleep."""
    neighbours = Neighbours()
    time.sleep(0.3)
    return neighbours.share()


def test_near_a_limit() -> None:
    assert near("the ratio", 2.9, 1 / 3, 3.0) == "the ratio is 2.9, near the limit of 3"
    assert near("the ratio", 2.6, 1 / 3, 3.0) == ""
    assert near("the share", 0.006, 0.01, within=0.005) == "the share is 0.006, near the limit of 0.01"
    assert near("the share", 0.004, 0.01, within=0.005) == ""


def fail(budget: Budget) -> Result:
    raise OSError(5, "on purpose")


def crash(budget: Budget) -> Result:
    os.kill(os.getpid(), signal.SIGTERM)
    return holds("")


def hang(budget: Budget) -> Result:
    if os.fork() == 0:
        time.sleep(60)
    time.sleep(60)
    return holds("")


@pytest.mark.parametrize(
    ("measure", "says"),
    [(fail, "OSError: [Errno 5] on purpose"), (crash, "without a result (code -15)"), (hang, "longer than 0.3 s")],
)
def test_a_probe_that_fails_harms_nobody(monkeypatch: pytest.MonkeyPatch, measure: object, says: str) -> None:
    monkeypatch.setitem(runner.LIMIT_S, True, 0.3)
    result = runner.run(probe_of(measure), quick=True, neighbours=Alone())
    assert result.verdict is Verdict.CANNOT_TEST
    assert says in result.error
    children = "".join((task / "children").read_text() for task in Path("/proc/self/task").iterdir())
    assert children.strip() == ""


def test_a_probe_that_ran_out_of_time_beside_others_did_not_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(runner.LIMIT_S, True, 0.3)
    result = runner.run(probe_of(hang), quick=True, neighbours=Crowded())
    assert (result.verdict, result.error, result.needed) == (Verdict.CANNOT_TEST, "", "a machine less busy")
    assert "; other programs had 50% of the CPUs" in result.seen


def test_the_command_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["epoll-level", "epoll-edge-lost"]
    assert cli.main(["lab", "probe", *names, "--quick", "--json", "--out", str(tmp_path / "out")]) == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in report["results"]] == names
    assert {"kernel", "cpu", "cpus", "root"} <= set(report["machine"])
    assert json.loads((tmp_path / "out/probes.json").read_text()) == report
    text, page = ((tmp_path / "out" / f"probes.{suffix}").read_text() for suffix in ("txt", "html"))
    for name in names:
        assert name in text and name in page
    assert "3 statements: 3 hold" in text
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_probe_that_failed_shows_in_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from minicomp.lab.probes import command

    monkeypatch.setattr(command, "choose", lambda wanted: [probe_of(fail)])
    assert cli.main(["lab", "probe", "p", "--quick"]) == ExitCode.INTERNAL
    assert "1 of the probes FAILED" in capsys.readouterr().out


def test_a_curve_is_drawn_within_its_frame_with_axes_and_names() -> None:
    series = {"one": [(1.0, 2.0), (10.0, 40.0), (100.0, 30.0)], "two & more": [(1.0, 3.0), (100.0, 3.0)]}
    drawn = as_svg(Curve("a title", "pages", "ns", series, log_x=True, log_y=True))
    element = xml.etree.ElementTree.fromstring(drawn.replace("<figure class=curve>", "").replace("</figure>", ""))
    texts = {text.text for text in element.iter("text")}
    assert {"a title", "pages", "ns", "one", "two & more", "1", "10", "100"} <= texts
    lines = [path.get("d", "") for path in element.iter("path") if path.get("class") in ("s0", "s1")]
    places = [tuple(map(float, word.split())) for line in lines for word in re.split("[ML]", line) if word]
    assert len(places) == 3 + 2 + 2 * 2  # the curves' points, and two strokes beside their names
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert as_svg(Curve("t", "x", "y", {})) == ""


REFUSED = """\
1: (79) r0 = *(u64 *)(r1 +0)
R1 invalid mem access 'scalar'
"""


@pytest.mark.parametrize(
    "after",
    [
        "",
        "\nVerification failed: Register Type Safety: Invalid dereference\n\nSuggestion:\n  Preserve a pointer.\n\n",
        "cur state: R10=fp0\nold state: R10=fp0\n",
    ],
)
def test_the_verifiers_reason_is_found_before_its_explanations(after: str) -> None:
    assert reason(f"{REFUSED}{after}processed 2 insns (limit 1000000)\n") == "R1 invalid mem access 'scalar'"


def test_a_controller_is_asked_for_only_where_it_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "cgroup.subtree_control"
    file.write_text("cpu memory\n")
    assert controller(str(tmp_path), "memory") == {}
    assert controller(str(tmp_path), "cpuset") == {str(file): "+cpuset"}
    with changed(controller(str(tmp_path), "cpuset")):
        assert file.read_text() == "+cpuset"
    assert file.read_text() == "-cpuset"
