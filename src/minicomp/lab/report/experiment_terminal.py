"""An experiment's report in a terminal: as wide as that is, with the answer and what was told apart standing out."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table as RichTable
from rich.text import Text

from minicomp.lab.report.experiment_layout import Section, Table

NARROW = 100
"""Below that many columns wide tables become one paragraph a row."""


def show(console: Console, title: str, parts: Sequence[Section], *, everything: bool) -> None:
    """Prints the report; sections that only some ask for are left out unless `everything`."""
    console.print(Text(title, style="dim"))
    for place, section in enumerate(parts):
        if (section.aside and not everything) or not (section.sentences or section.tables):
            continue
        console.print()
        console.print(Text(section.title, style="bold cyan") if place else Text(section.title, style="bold"))
        if section.lead:
            console.print(Padding(Text(section.lead, style="dim"), (0, 0, 0, 2)))
        for sentence in section.sentences:
            console.print(Padding(_sentence(sentence, answer=place == 0), (0, 0, 0, 2)))
        for table in section.tables:
            console.print(_table(table, console.width))
            if table.note:
                console.print(Padding(Text(table.note, style="dim"), (0, 0, 0, 2)))
    console.print(Rule(style="dim"))


def _sentence(sentence: str, *, answer: bool) -> RenderableType:
    text = Text(sentence)
    if answer:
        text.highlight_regex(r"\d[\d.]* %", "bold")
        text.highlight_regex(r"not told apart", "yellow")
        text.highlight_regex(r"[\d.∞]+ times (fewer|as many)", "green")
    return text


def _table(table: Table, width: int) -> RenderableType:
    if width < NARROW and len(table.head) > 5:
        return _records(table)
    drawn = RichTable(title=table.title or None, title_justify="left", box=None, pad_edge=False, header_style="dim")
    for place, name in enumerate(table.head):
        left = place < table.left
        drawn.add_column(name, justify="left" if left else "right", overflow="fold", no_wrap=place == 0)
    for number, row in enumerate(table.rows):
        drawn.add_row(*(Text(cell) for cell in row), style="bold green" if number in table.marked else "")
    return Padding(drawn, (0, 0, 0, 2))


def _records(table: Table) -> RenderableType:
    """Each row as its first cells, and the others by name below."""
    blocks: list[RenderableType] = []
    if table.title:
        blocks.append(Text(f"  {table.title}", style="italic"))
    for number, row in enumerate(table.rows):
        style = "bold green" if number in table.marked else "bold"
        first = min(table.left, 2)
        blocks.append(Text("  " + ", ".join(row[:first]), style=style))
        facts = [f"{name} {cell}" for name, cell in zip(table.head[first:], row[first:], strict=True)]
        blocks.append(Padding(Text(" · ".join(facts)), (0, 0, 0, 4)))
    return Group(*blocks)
