"""Results as one HTML file that needs nothing else: the statements, then the probes of each section; curves as SVG."""

from __future__ import annotations

from html import escape
from typing import Any

from minicomp.lab.probes.picture import CSS, as_svg
from minicomp.lab.probes.probe import SECTIONS, Probe, Result, Verdict
from minicomp.lab.probes.statements import Answer, answers
from minicomp.lab.probes.text import number_cells, tally

_CLASSES = {Verdict.HOLDS: "yes", Verdict.DOES_NOT_HOLD: "no", Verdict.CANNOT_TEST: "untested"}
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
article { border-top: 1px solid #ccc; padding: .6rem 0; }
h3 { margin: .2rem 0; font-size: 1rem; }
blockquote { margin: .3rem 0; color: #555; font-style: italic; }
pre { overflow-x: auto; background: #f6f6f6; padding: .5rem; margin: .4rem 0; }
nav a { margin-right: 1rem; white-space: nowrap; }
table { border-collapse: collapse; margin: 0 0 1.2rem; }
td { padding: .2rem .8rem .2rem 0; vertical-align: top; border-top: 1px solid #e4e4e4; }
.said td:first-child { min-width: 2.2rem; color: #666; white-space: nowrap; }
.said td:last-child { font-size: .85rem; overflow-wrap: anywhere; }
.numbers { background: #f6f6f6; margin: .4rem 0; font-size: .85rem; font-variant-numeric: tabular-nums; }
.numbers td { border: 0; padding: .1rem .6rem; }
.numbers td:nth-child(2) { text-align: right; white-space: nowrap; }
.verdict { white-space: nowrap; }
@media (max-width: 40rem) {
  .said, .said tbody, .said tr, .said td { display: block; }
  .said td { border: 0; padding: 0 0 .2rem; }
  .said tr { border-top: 1px solid #ccc; padding: .2rem 0; }
  .said td:first-child { float: left; margin-right: .5rem; }
}
.verdict { padding: .1rem .5rem; border-radius: .6rem; font-size: .85rem; font-weight: normal; }
.yes { background: #d5efd8; } .no { background: #ffe2b8; } .untested { background: #e4e4e4; }
.doubt { outline: 1px dashed #888; }
.small { color: #666; font-size: .85rem; margin: .2rem 0; }
figure { margin: 0; overflow-x: auto; }
svg { width: 100%; min-width: 480px; max-width: 640px; height: auto; }
"""


def as_html(report: dict[str, Any], results: list[tuple[Probe, Result]]) -> str:
    machine = report["machine"]
    where = f"{machine['kernel']}, {machine['cpu']}, {machine['cpus']} CPUs, {report['date']}"
    if report["quick"]:
        where += ", quick"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Kernel claims on {escape(machine['kernel'])}</title><style>{_STYLE}{CSS}</style>",
        f"<h1>What holds on this machine</h1><p>{escape(where)}</p>",
        f"<p>{escape(tally(results))}</p>",
    ]
    given = list(answers(results))
    there = {answer.statement.section for answer in given}
    links = [f"<a href='#s{number}'>{number}. {escape(SECTIONS[number][1])}</a>" for number in sorted(there)]
    parts.append(f"<nav>{' '.join(links)}</nav>")
    for number, (_, title) in SECTIONS.items():
        statements = [answer for answer in given if answer.statement.section == number]
        if statements:
            parts.append(f"<h2 id=s{number}>{number}. {escape(title)}</h2><table class=said>")
            parts += [_row(answer) for answer in statements]
            parts.append("</table>")
            parts += [_article(probe, result) for probe, result in results if probe.section == number]
    return "\n".join(parts) + "\n"


def _verdict(verdict: Verdict, in_doubt: bool) -> str:
    more = (" doubt", " ?") if in_doubt else ("", "")
    return f"<span class='verdict {_CLASSES[verdict]}{more[0]}'>{escape(verdict)}{more[1]}</span>"


def _row(answer: Answer) -> str:
    """A statement, its verdict, links to what was measured."""
    links = "<br>".join(f"<a href='#{escape(probe.name)}'>{escape(probe.name)}</a>" for probe, _ in answer.results)
    number, words = escape(answer.statement.number), escape(answer.statement.words)
    return f"<tr><td>{number}<td>{words}<td>{_verdict(answer.verdict, answer.in_doubt)}<td>{links}</tr>"


def _article(probe: Probe, result: Result) -> str:
    numbers = "".join(f"<tr><td>{'<td>'.join(map(escape, cells))}" for cells in map(number_cells, result.numbers))
    verdict = _verdict(result.verdict, bool(result.doubt))
    parts = [
        f"<article id='{escape(probe.name)}'><h3>{escape(probe.name)} {verdict}</h3>",
        f"<blockquote>{escape(probe.statement)}</blockquote><p>{escape(result.seen)}</p>",
        f"<p>Needed: {escape(result.needed)}</p>" if result.needed else "",
        f"<p>In doubt: {escape(result.doubt)}</p>" if result.doubt else "",
        f"<pre>{escape(result.error)}</pre>" if result.error else "",
        f"<table class=numbers>{numbers}</table>" if numbers else "",
        *(as_svg(curve) for curve in result.curves),
        f"<p class=small>Method: {escape(probe.method)}</p><p class=small>minicomp: {escape(probe.used_by)}</p>"
        "</article>",
    ]
    return "".join(parts)
