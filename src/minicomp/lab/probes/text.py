"""Results as a table for a terminal, led by the statements, and numbers as people read them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from minicomp.lab.probes.probe import SECTIONS, Number, Probe, Result, Verdict
from minicomp.lab.probes.statements import answers

STYLES = {Verdict.HOLDS: "green", Verdict.DOES_NOT_HOLD: "yellow", Verdict.CANNOT_TEST: "dim"}
PLURAL = {
    Verdict.HOLDS: "hold",
    Verdict.DOES_NOT_HOLD: "do not hold here",
    Verdict.CANNOT_TEST: "cannot be tested here",
}
SHORT = {Verdict.HOLDS: "holds", Verdict.DOES_NOT_HOLD: "does not", Verdict.CANNOT_TEST: "untested"}


def print_report(console: Console, results: list[tuple[Probe, Result]], full: bool) -> None:
    """A table of statements per section; `full` adds every probe with its numbers, the method and the use."""
    said: dict[str, str] = {}  # probe: the statement under which its sentence stands
    for number, (_, title) in SECTIONS.items():
        rows = [answer for answer in answers(results) if answer.statement.section == number]
        if not rows:
            continue
        console.print(f"\n[bold]{number}. {title}[/bold]")
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for answer in rows:
            verdict = Text(SHORT[answer.verdict] + (" ?" if answer.in_doubt else ""), STYLES[answer.verdict])
            table.add_row(answer.statement.number, verdict, Text(answer.statement.words, "bold"))
            for probe, result in answer.results:
                table.add_row("", "", _once(probe, result, answer.statement.number, said))
        console.print(table)
        if full:
            console.print()
            for probe, result in results:
                if probe.section == number:
                    _print_one(console, probe, result)
    console.print()
    console.print(tally(results), soft_wrap=not console.is_terminal)


def _once(probe: Probe, result: Result, number: str, said: dict[str, str]) -> Text:
    """The probe's sentence, or where it stands already."""
    first = said.setdefault(probe.name, number)
    text = _sentence(result) if first == number else f"see {first}"
    verdict = f"{SHORT[result.verdict]}; " if first != number else ""
    return Text.assemble((f"{probe.name}: ", "cyan"), verdict + text)


def _print_one(console: Console, probe: Probe, result: Result) -> None:
    console.print(Text.assemble((str(result.verdict), STYLES[result.verdict]), f"  {probe.name}"))
    lines = [f"“{probe.statement}”", _sentence(result), *number_lines(result.numbers)]
    lines += [f"method: {probe.method}", f"minicomp: {probe.used_by}"]
    for line in lines:
        console.print(Padding(Text(line), (0, 0, 0, 4)))


def _sentence(result: Result) -> str:
    text = result.seen
    if result.needed:
        text += f" (needs: {result.needed})"
    if result.doubt:
        text += f" (in doubt: {result.doubt})"
    if result.error:
        text += "\n" + result.error
    return text


def number_lines(numbers: tuple[Number, ...]) -> Iterator[str]:
    width = max((len(number.name) for number in numbers), default=0)
    for number in numbers:
        name, value, spread = number_cells(number)
        yield f"{name:<{width}}  {value}  {spread}".rstrip()


def number_cells(number: Number) -> tuple[str, str, str]:
    """Its name, its value with the unit, and its spread where it has one."""
    spread = f"[{quantity(number.low)}, {quantity(number.high)}]  n = {number.n}" if number.n > 1 else ""
    return number.name, f"{quantity(number.value)} {number.unit}".rstrip(), spread


def quantity(value: float) -> str:
    """Three digits that count: 1234567 -> 1,230,000 is worse than saying it all, so whole numbers stay whole."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def tally(results: list[tuple[Probe, Result]]) -> str:
    """One line: how many of each verdict, how many probes said so, how long it took."""
    every = list(answers(results))
    given = [answer.verdict for answer in every]
    text = f"{len(given)} statements: " + ", ".join(
        f"{given.count(verdict)} {words}" for verdict, words in PLURAL.items()
    )
    if doubted := sum(answer.in_doubt for answer in every):
        text += f" ({doubted} of these verdicts in doubt, marked ?)"
    text += f"; {len(results)} probes, {sum(result.seconds for _, result in results):.1f} s"
    if os.geteuid() != 0:
        lacking = sum("root" in result.needed or "CAP_" in result.needed for _, result in results)
        text += f"; not run as root, which {lacking} of them need" if lacking else ""
    failed = sum(bool(result.error) for _, result in results)
    return text + (f"; {failed} of the probes FAILED" if failed else "")
