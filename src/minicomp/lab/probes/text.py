"""Results as a table for a terminal, and numbers as people read them."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from minicomp.lab.probes.probe import SECTIONS, Number, Probe, Result, Verdict

STYLES = {Verdict.HOLDS: "green", Verdict.DOES_NOT_HOLD: "yellow", Verdict.CANNOT_TEST: "dim"}
SHORT = {Verdict.HOLDS: "holds", Verdict.DOES_NOT_HOLD: "does not", Verdict.CANNOT_TEST: "untested"}


def print_report(console: Console, results: list[tuple[Probe, Result]], full: bool) -> None:
    """A table per section; `full` adds every number with its spread, the method and the use."""
    for number, (_, title) in SECTIONS.items():
        rows = [(probe, result) for probe, result in results if probe.section == number]
        if not rows:
            continue
        console.print(f"\n[bold]{number}. {title}[/bold]")
        if full:
            for probe, result in rows:
                _print_one(console, probe, result)
            continue
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for probe, result in rows:
            table.add_row(Text(SHORT[result.verdict], STYLES[result.verdict]), probe.name, _sentence(result))
        console.print(table)
    console.print()
    console.print(tally([result for _, result in results]), soft_wrap=True)


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
    if result.error:
        text += "\n" + result.error
    return text


def number_lines(numbers: tuple[Number, ...]) -> Iterator[str]:
    width = max((len(number.name) for number in numbers), default=0)
    for number in numbers:
        text = f"{number.name:<{width}}  {quantity(number.value)} {number.unit}".rstrip()
        if number.n > 1:
            text += f"  [{quantity(number.low)}, {quantity(number.high)}]  n = {number.n}"
        yield text


def quantity(value: float) -> str:
    """Three digits that count: 1234567 -> 1,230,000 is worse than saying it all, so whole numbers stay whole."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def tally(results: list[Result]) -> str:
    """One line: how many of each verdict, how long it took."""
    counts = {verdict: sum(result.verdict is verdict for result in results) for verdict in Verdict}
    failed = sum(bool(result.error) for result in results)
    text = f"{len(results)} statements: " + ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items())
    text += f"; {sum(result.seconds for result in results):.1f} s"
    return text + (f"; {failed} of the probes FAILED" if failed else "")
