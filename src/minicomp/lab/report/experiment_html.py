"""An experiment's report as one HTML file: no scripts, no other files, light and dark, narrow and wide.

Text colours are inherited by the pictures, which are inline SVG; each comes in two widths, of which CSS shows one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from minicomp.lab.report.experiment_layout import Section, Table
from minicomp.lab.report.experiment_pictures import Picture

NARROW_PAGE_PX = 700
MOST_CARDS = 12
"""Rows of a broad table that a narrow page shows one below the other instead of scrolling sideways."""
LONG_CELL = 40
"""Letters from which on a cell may be broken into lines."""

_LIGHT = """
  --page: #fcfcfa; --text: #1d2126; --soft: #5c6570; --rule: #d9dce0; --faint: #eceef0; --mark: #fff4d6;
  --accent: #0b62a8;
  --a0: #3b5b92; --a1: #d1660a; --a2: #12805c; --a3: #b8357f;
  --a4: #7a5cc4; --a5: #8a6d00; --a6: #0a8aa5; --a7: #6b6b6b;
  --c0: #9aa3ad; --c1: #d1660a; --c2: #7a5cc4; --c3: #12805c; --c4: #b3261e;
  --c5: #c99700; --c6: #0a8aa5; --c7: #b8357f; --c8: #1d2126;
  --s0: #b9c2cc; --s1: #d1660a; --s2: #7a5cc4; --s3: #3b5b92; --s4: #0a8aa5; --s5: #dfe3e7;
"""
_DARK = """
  --page: #14171a; --text: #e6e8ea; --soft: #9aa4af; --rule: #363c43; --faint: #23282d; --mark: #3a3218;
  --accent: #7db7ea;
  --a0: #8fb0ea; --a1: #f39a4d; --a2: #4fc79b; --a3: #ee7fbb;
  --a4: #b79cf3; --a5: #d8bd4a; --a6: #52c6de; --a7: #b0b0b0;
  --c0: #727d88; --c1: #f39a4d; --c2: #b79cf3; --c3: #4fc79b; --c4: #ff7a70;
  --c5: #e6c14d; --c6: #52c6de; --c7: #ee7fbb; --c8: #e6e8ea;
  --s0: #56616d; --s1: #f39a4d; --s2: #b79cf3; --s3: #8fb0ea; --s4: #52c6de; --s5: #363d45;
"""


def _swatches() -> str:
    """A rule for each colour class: lines and fills take --k."""
    counts = {"a": 8, "c": 9, "s": 6}
    return "\n".join(f".{kind}{n} {{ --k: var(--{kind}{n}) }}" for kind, count in counts.items() for n in range(count))


_STYLE = f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
* {{ box-sizing: border-box }}
body {{ margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif }}
main {{ max-width: 1340px; margin: 0 auto; padding: 24px clamp(14px, 3vw, 40px) 60px }}
header p {{ color: var(--soft); margin: 0 0 4px }}
h1 {{ font-size: clamp(22px, 3vw, 30px); line-height: 1.25; margin: 0 0 12px; text-wrap: balance }}
h2 {{ font-size: 20px; margin: 40px 0 10px; padding-top: 14px; border-top: 1px solid var(--rule) }}
h3 {{ font-size: 15px; margin: 20px 0 6px }}
p, li {{ max-width: 92ch; overflow-wrap: anywhere }}
.answer {{ padding: 0; margin: 12px 0 0; list-style: none }}
.answer li {{ padding: 8px 14px; margin: 0 0 8px; border-left: 4px solid var(--accent); background: var(--faint) }}
.answer li.second {{ border-color: var(--rule); background: none; padding: 2px 14px; color: var(--soft) }}
.scroll {{ overflow-x: auto; max-width: 100% }}
table {{ border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums }}
th, td {{ padding: 5px 12px 5px 0; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule);
  vertical-align: top }}
th {{ font-weight: 600; color: var(--soft); vertical-align: bottom }}
th.l, td.l {{ text-align: left }}
td.wrap {{ white-space: normal; min-width: 22ch; max-width: 60ch; overflow-wrap: anywhere }}
tr > :first-child {{ position: sticky; left: 0; background: var(--page); padding-left: 2px }}
tr.mark > * {{ background: var(--mark) }}
.note, figcaption {{ color: var(--soft); font-size: 13.5px; line-height: 1.45; margin: 6px 0 0; max-width: 100ch }}
code {{ font: 13.5px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; background: var(--faint); padding: 1px 5px;
  overflow-wrap: anywhere }}
details {{ border-top: 1px solid var(--rule); margin-top: 24px; padding-top: 8px }}
details > summary {{ font-size: 20px; font-weight: 600; cursor: pointer; padding: 6px 0 }}
details h2 {{ display: none }}
.figures {{ display: grid; grid-template-columns: minmax(0, 1fr); gap: 36px 48px; max-width: 900px;
  margin-top: 28px }}
figure {{ margin: 0; min-width: 0 }}
figure h3 {{ margin: 0 0 4px; font-size: 16px }}
.legend {{ display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13.5px; margin: 0 0 6px; padding: 0;
  list-style: none }}
.legend i {{ display: inline-block; width: 14px; height: 4px; margin-right: 6px; vertical-align: middle;
  background: var(--k); border-radius: 1px }}
.legend.square i {{ height: 11px; width: 11px }}
svg {{ display: block; width: 100%; height: auto; overflow: visible }}
svg.narrow {{ display: none }}
svg text {{ fill: var(--text); stroke: var(--page); stroke-width: 3px; paint-order: stroke;
  font: 12px system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif }}
svg .tick {{ fill: var(--soft); font-size: 11.5px; font-variant-numeric: tabular-nums }}
svg .label {{ font-size: 12px }}
svg path {{ fill: none }}
.grid {{ stroke: var(--rule); stroke-width: 0.7 }}
.reference {{ stroke: var(--soft); stroke-width: 1; stroke-dasharray: 2 4 }}
.reference.strong {{ stroke-dasharray: none }}
.parting {{ stroke: var(--soft); stroke-width: 0.6; opacity: 0.7 }}
.line {{ stroke: var(--k); stroke-width: 2; stroke-linejoin: round }}
.line.thin {{ stroke-width: 1.2 }}
.line.dashed {{ stroke-width: 1.3; stroke-dasharray: 5 4 }}
.strip {{ stroke: var(--k); stroke-width: 1 }}
.over {{ stroke: var(--c4); stroke-width: 1.4 }}
.mark {{ stroke: var(--k); stroke-width: 1.6 }}
.fill {{ fill: var(--k) }}
.hollow {{ fill: var(--page); stroke: var(--k); stroke-width: 1.6 }}
.dots {{ stroke: var(--k); stroke-width: 3.2; stroke-linecap: round; opacity: 0.55 }}
.dots.late {{ stroke: var(--c4); stroke-width: 4.4; opacity: 0.9 }}
@media (min-width: 1180px) {{ .figures {{ grid-template-columns: repeat(2, minmax(0, 1fr)); max-width: none }} }}
@media (max-width: {NARROW_PAGE_PX}px) {{
  svg.narrow {{ display: block }} svg.wide {{ display: none }}
  .cards, .cards tbody, .cards tr {{ display: block }}
  .cards tr {{ border-bottom: 1px solid var(--rule); padding: 6px 0 }}
  .cards tr:first-child {{ display: none }}
  .cards td {{ display: flex; justify-content: space-between; gap: 16px; border: 0; padding: 1px 2px;
    white-space: normal }}
  .cards td.wrap {{ max-width: none; text-align: right }}
  .cards td::before {{ content: attr(data-head); color: var(--soft); flex: none }}
  .cards td:first-child {{ font-weight: 600; position: static }}
  .cards td:first-child::before {{ content: none }}
  body {{ font-size: 15px }} table {{ font-size: 13px }} h2, details > summary {{ font-size: 18px }}
}}
@media print {{ details {{ display: block }} .scroll {{ overflow: visible }} }}
{_swatches()}
"""


def as_html(title: str, parts: Sequence[Section], drawn: Mapping[str, Picture], text: str) -> str:
    """The whole page. The first section is the answer, and its title the page's; `text` is the plain-text report."""
    answer, *others = parts
    body = "\n".join(_section(section, drawn) for section in others)
    said = "\n".join(
        f"<li{_second(place, answer)}>{escape(sentence)}</li>" for place, sentence in enumerate(answer.sentences)
    )
    lead = f'<p class="lead">{escape(answer.lead)}</p>\n' if answer.lead else ""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
<main>
<header>
<p>{escape(title)}</p>
<h1>{escape(answer.title)}</h1>
{lead}<ul class="answer">
{said}
</ul>
</header>
{body}
</main>
<!-- The same as plain text:
{text.replace("--", "- -")}
-->
</html>
"""


def _second(place: int, answer: Section) -> str:
    """Sentences after those on misses are of a second rank."""
    verdicts = sum("more runs needed" in one and "commit →" not in one for one in answer.sentences)
    return ' class="second"' if place >= max(verdicts, 1) else ""


def _section(section: Section, drawn: Mapping[str, Picture]) -> str:
    shown = [drawn[name] for name in section.pictures if name in drawn]
    if not (section.sentences or section.tables or shown):
        return ""
    commands = section.title.startswith("How to get")
    said = "\n".join(f"<p>{_sentence(sentence, commands)}</p>" for sentence in section.sentences)
    tables = "\n".join(_table(table) for table in section.tables)
    figures = "\n".join(_figure(picture) for picture in shown)
    if figures:
        figures = f'<div class="figures">\n{figures}\n</div>'
    # Pictures come before tables where a section has both: they are the quicker to read.
    content = f"<h2>{escape(section.title)}</h2>\n{said}\n{tables}\n{figures}"
    if section.aside:
        return f"<details>\n<summary>{escape(section.title)}</summary>\n{content}\n</details>"
    return f"<section>\n{content}\n</section>"


def _sentence(sentence: str, commands: bool) -> str:
    inner = escape(sentence)
    return f"<code>{inner}</code>" if commands and sentence.startswith("minicomp ") else inner


def _table(table: Table) -> str:
    title = f"<h3>{escape(table.title)}</h3>\n" if table.title else ""
    note = f'\n<p class="note">{escape(table.note)}</p>' if table.note else ""
    head = "".join(_cell("th", cell, place, table) for place, cell in enumerate(table.head))
    rows = "\n".join(
        ('<tr class="mark">' if number in table.marked else "<tr>")
        + "".join(_cell("td", cell, place, table) for place, cell in enumerate(row))
        + "</tr>"
        for number, row in enumerate(table.rows)
    )
    broad = len(table.head) > 5 or any(len(cell) > LONG_CELL for row in table.rows for cell in row)
    kind = ' class="cards"' if broad and len(table.rows) <= MOST_CARDS else ""
    return f'{title}<div class="scroll"><table{kind}>\n<tr>{head}</tr>\n{rows}\n</table></div>{note}'


def _cell(tag: str, cell: str, place: int, table: Table) -> str:
    kinds = ["l"] if place < table.left else []
    if tag == "td" and len(cell) > LONG_CELL:
        kinds.append("wrap")
    style = f' class="{" ".join(kinds)}"' if kinds else ""
    head = f' data-head="{escape(table.head[place])}"' if tag == "td" else ""
    return f"<{tag}{style}{head}>{escape(cell)}</{tag}>"


def _figure(picture: Picture) -> str:
    square = " square" if picture.legend and picture.legend[0][0][0] in "cs" else ""
    entries = "".join(f'<li><i class="{style}"></i>{escape(words)}</li>' for style, words in picture.legend)
    legend = f'<ul class="legend{square}">{entries}</ul>' if entries else ""
    wide = picture.wide.replace("<svg", '<svg class="wide"', 1)
    narrow = picture.narrow.replace("<svg", '<svg class="narrow"', 1)
    return (
        f"<figure>\n<h3>{escape(picture.title)}</h3>\n{legend}\n{wide}\n{narrow}\n"
        f"<figcaption>{escape(picture.caption)}</figcaption>\n</figure>"
    )
