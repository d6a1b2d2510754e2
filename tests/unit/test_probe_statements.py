"""The list of the document's statements is whole, and leads the report and the table in the docs."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from minicomp.lab.probes.command import as_json, as_table, untested
from minicomp.lab.probes.html import as_html
from minicomp.lab.probes.probe import SECTIONS, Probe, Result, Verdict, cannot_test, holds
from minicomp.lab.probes.registry import all_probes
from minicomp.lab.probes.statements import BEYOND, DOCUMENT, all_statements, answers, verdict_of
from minicomp.lab.probes.text import print_report

HOLDS, NOT, UNTESTED = Verdict.HOLDS, Verdict.DOES_NOT_HOLD, Verdict.CANNOT_TEST


def everything(result: Result) -> list[tuple[Probe, Result]]:
    return [(probe, result) for probe in all_probes()]


def test_every_statement_has_a_probe_of_its_section_and_every_probe_a_statement() -> None:
    sections = {probe.name: probe.section for probe in all_probes()}
    elsewhere = {("9.7", "sched-class"), ("9.8", "sched-eevdf-gain")}
    for statement in all_statements():
        assert statement.probes, statement
        for name in statement.probes:
            assert name in sections, f"{statement.number}: no probe is called {name}"
            assert sections[name] == statement.section or (statement.number, name) in elsewhere, statement
    named = {name for statement in all_statements() for name in statement.probes}
    assert set(sections) - named == set(), "these probes belong to no statement"


def test_statements_are_short_and_said_once() -> None:
    assert set(DOCUMENT) == set(SECTIONS) and set(BEYOND) <= set(SECTIONS)
    words = [statement.words for statement in all_statements()]
    assert [text for text, count in Counter(words).items() if count > 1] == []
    assert [text for text in words if len(text) > 100] == []
    numbers = [statement.number for statement in all_statements()]
    assert len(numbers) == len(set(numbers))


def test_the_docs_have_a_row_for_each_with_its_use_and_what_cannot_be_tested() -> None:
    text = (Path(__file__).parents[2] / "docs/kernel-claims.md").read_text()
    for statement in all_statements():
        row = next((line for line in text.splitlines() if line.startswith(f"| {statement.number} |")), "")
        assert statement.words in row, f"{statement.number} has no row"
        assert all(f"`{name}`" in row for name in statement.probes), statement
    for probe in all_probes():
        if why := untested(probe):
            assert f"`{probe.name}` ({why})" in text


def test_the_report_lists_every_statement_in_text_html_and_json() -> None:
    results = everything(holds("it was seen"))
    out = io.StringIO()
    print_report(Console(file=out, width=200, highlight=False), results, full=False)
    machine = {"kernel": "k", "cpu": "c", "cpus": 2}
    page = as_html({"machine": machine, "date": "d", "quick": True}, results)
    listed = as_json(results, True, 0.0)["statements"]
    assert [entry["number"] for entry in listed] == [statement.number for statement in all_statements()]
    for statement in all_statements():
        assert statement.words in out.getvalue()
        assert f"<td>{statement.number}<td>" in page
    assert f"{len(all_statements())} statements: {len(all_statements())} hold, 0 do not" in out.getvalue()


def test_a_part_of_the_probes_answers_a_part_of_the_statements() -> None:
    results = [(probe, cannot_test("no", "more")) for probe in all_probes() if probe.name == "memory-tlb"]
    found = list(answers(results))
    assert {answer.statement.number for answer in found} == {"1.7"}
    assert {answer.verdict for answer in found} == {UNTESTED}
    assert "| 1.7 |" in as_table([probe for probe, _ in results])
    assert "### 2." not in as_table([probe for probe, _ in results])


def test_a_verdict_is_in_doubt_where_each_result_that_gives_it_is() -> None:
    doubtful, sure = holds("seen", doubt="near its limit"), holds("seen")
    places = next(names.split() for _, names in DOCUMENT[1] if len(names.split()) == 2)
    probes = [next(probe for probe in all_probes() if probe.name == name) for name in places]

    def marked(*given: Result) -> bool:
        (answer,) = [answer for answer in answers(list(zip(probes, given, strict=True))) if len(answer.results) == 2]
        return answer.in_doubt

    assert marked(doubtful, doubtful)
    assert not marked(doubtful, sure)
    assert not marked(cannot_test("no", "more"), sure)
    assert marked(doubtful, cannot_test("no", "more"))


def test_a_doubt_is_shown_in_text_html_and_json() -> None:
    results = [(probe, holds("seen", doubt="near its limit")) for probe in all_probes() if probe.name == "memory-tlb"]
    out = io.StringIO()
    print_report(Console(file=out, width=200, highlight=False), results, full=False)
    page = as_html({"machine": {"kernel": "k", "cpu": "c", "cpus": 2}, "date": "d", "quick": True}, results)
    assert "holds ?" in out.getvalue() and "(in doubt: near its limit)" in out.getvalue()
    assert "1 of these verdicts in doubt" in out.getvalue()
    assert "yes doubt'>holds ?<" in page and "In doubt: near its limit" in page
    assert [entry["in_doubt"] for entry in as_json(results, True, 0.0)["statements"]] == [True]


@pytest.mark.parametrize(
    ("given", "verdict"),
    [([HOLDS, NOT], NOT), ([HOLDS, UNTESTED], HOLDS), ([UNTESTED, NOT], NOT), ([UNTESTED], UNTESTED), ([HOLDS], HOLDS)],
)
def test_a_statement_with_several_probes(given: list[Verdict], verdict: Verdict) -> None:
    assert verdict_of(given) is verdict
