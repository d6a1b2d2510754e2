"""An experiment's report as plain text: no colour, a fixed width, so that it can be mailed, kept and compared."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from minicomp.lab.report.columns import table as columns
from minicomp.lab.report.experiment_layout import Section, Table

WIDTH = 110


def as_text(title: str, parts: Sequence[Section]) -> str:
    """The whole report. Tables wider than WIDTH are not broken."""
    blocks = [title]
    for section in parts:
        if not section.sentences and not section.tables:
            continue  # pictures only
        blocks.append(f"{section.title}\n{'-' * len(section.title)}")
        if section.lead:
            blocks.append(_wrapped(section.lead))
        if section.sentences:
            blocks.append("\n".join(_wrapped(sentence) for sentence in section.sentences))
        blocks += [_table(table) for table in section.tables]
    return "\n\n".join(blocks) + "\n"


def _table(table: Table) -> str:
    lines = [table.title] if table.title else []
    lines.append(columns(table.head, table.rows, left=table.left))
    if table.note:
        lines.append(_wrapped(table.note))
    return "\n".join(lines)


def _wrapped(sentence: str) -> str:
    return textwrap.fill(sentence, WIDTH, break_long_words=False, break_on_hyphens=False)
