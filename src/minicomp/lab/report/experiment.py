"""The report of an experiment, from the folder that `minicomp lab run` wrote: text, terminal, HTML, CSV, Perfetto.

Reads files only (plan.json, runs/*.json, runs/*.parquet, traces/*.mct); writes report.html, report.txt, summary.csv and
a Perfetto trace beside each run file that was kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from minicomp.errors import ExitCode, MinicompError
from minicomp.lab.report.experiment_csv import as_csv
from minicomp.lab.report.experiment_document import heading, sections
from minicomp.lab.report.experiment_html import as_html
from minicomp.lab.report.experiment_layout import Section
from minicomp.lab.report.experiment_pictures import pictures
from minicomp.lab.report.experiment_text import as_text
from minicomp.lab.statistics.analysis import Analysis, analyse
from minicomp.lab.statistics.results import read_results

if TYPE_CHECKING:
    from rich.console import Console

HTML, TEXT, CSV = "report.html", "report.txt", "summary.csv"


@dataclass(frozen=True)
class _Report:
    """An experiment analysed and put into words, once for all forms of the report."""

    analysis: Analysis
    title: str
    parts: list[Section]

    @cached_property
    def text(self) -> str:
        return as_text(self.title, self.parts)


def render_text(out_dir: str | Path, *, with_disturbed: bool = False) -> str:
    """The report as plain text. Raises MinicompError when the folder holds no experiment."""
    return _report(out_dir, with_disturbed).text


def write_html(out_dir: str | Path, *, with_disturbed: bool = False) -> Path:
    """Writes OUT_DIR/report.html, one self-contained file, and returns its path. Raises MinicompError."""
    report = _report(out_dir, with_disturbed)
    page = as_html(report.title, report.parts, pictures(report.analysis), report.text)
    return _write(Path(out_dir) / HTML, page)


def write_all(out_dir: str | Path, *, with_disturbed: bool = False) -> list[Path]:
    """Writes the page, the text, the CSV summary and Perfetto traces; returns their paths. Raises MinicompError."""
    folder = Path(out_dir)
    report = _report(folder, with_disturbed)
    return [
        write_html(folder, with_disturbed=with_disturbed),
        _write(folder / TEXT, report.text),
        _write(folder / CSV, as_csv(report.analysis)),
        *_perfetto(folder),
    ]


def print_report(
    out_dir: str | Path, console: Console, *, everything: bool = False, with_disturbed: bool = False
) -> None:
    """Prints the report to a terminal, as wide as that is. Raises MinicompError."""
    from minicomp.lab.report.experiment_terminal import show

    report = _report(out_dir, with_disturbed)
    show(console, report.title, report.parts, everything=everything)


def sentences(out_dir: str | Path, *, with_disturbed: bool = False) -> list[str]:
    """The answer alone: a verdict for each arm, then what there is to add. Raises MinicompError."""
    return list(_report(out_dir, with_disturbed).parts[0].sentences)


def _report(out_dir: str | Path, with_disturbed: bool) -> _Report:
    """Read and computed once for all forms; again when a file of the folder has changed."""
    folder = Path(out_dir)
    stamp = max((path.stat().st_mtime_ns for path in folder.glob("runs/*")), default=0)
    return _made(folder.resolve(), stamp, with_disturbed)


@lru_cache(maxsize=1)
def _made(folder: Path, _stamp: int, with_disturbed: bool) -> _Report:
    analysis = analyse(read_results(folder, with_disturbed=with_disturbed))
    return _Report(analysis, heading(analysis), sections(analysis))


def _perfetto(folder: Path) -> list[Path]:
    from minicomp.lab.pipeline.runfile import read_run
    from minicomp.lab.report.perfetto_export import export_perfetto

    written = []
    for trace in sorted(folder.glob("traces/*.mct")):
        path = trace.with_suffix(".pftrace")
        if not path.exists() or path.stat().st_mtime_ns < trace.stat().st_mtime_ns:
            export_perfetto(read_run(trace), path)
        written.append(path)
    return written


def _write(path: Path, content: str) -> Path:
    try:
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise MinicompError(error.strerror or str(error), where=str(path), exit_code=ExitCode.UNAVAILABLE) from error
    return path
