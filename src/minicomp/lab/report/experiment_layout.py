"""What a report is made of: sections with sentences, tables and the names of pictures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Rows of text; the first `left` columns are flush left, the others are numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    title: str = ""
    note: str = ""
    marked: frozenset[int] = frozenset()
    """Rows that stand out: resolved differences, settings that changed."""


@dataclass(frozen=True)
class Section:
    """One heading and what is below it."""

    title: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[str, ...] = ()
    lead: str = ""
    """What the sentences are about, said once before them."""
    aside: bool = False
    """Needed only by those who ask: folded in HTML."""
