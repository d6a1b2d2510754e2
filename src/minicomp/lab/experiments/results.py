"""Writes one run's table as Parquet.

The Parquet file stands alone: what the run was is in its key-value metadata ("minicomp.*", JSON), and experiment, host,
arm, block, run and status are columns, so that files of thousands of machines can be queried together. pyarrow writes
it: https://arrow.apache.org/docs/python/parquet.html. A file appears under its name only when it is whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minicomp.errors import ExitCode, MinicompError
from minicomp.lab.experiments.rows import COUNTS, SPANS, TIMES, Columns
from minicomp.lab.pipeline.tables import MISSING

COLUMNS = (
    *("experiment", "host", "arm", "block", "run", "status", "frame", "surface", "output", "refresh_ns"),
    *TIMES,
    "presented_kind",
    *SPANS,
    *("missed_vblanks", "cause", "evidence"),
    *COUNTS,
)
REPEATED = ("experiment", "host", "arm", "status", "surface", "output", "presented_kind", "cause", "evidence")
"""Columns of few different words, stored as dictionaries."""


def write_parquet(path: Path, columns: Columns, identity: Mapping[str, Any], about: Mapping[str, Any]) -> int:
    """Writes the table and returns its number of rows. `identity`: experiment, host, arm, block, run, status."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MinicompError(
            f"tables of results need {error.name}",
            todo="scripts/setup installs it (minicomp[lab]); or collect only, and make the tables elsewhere: "
            "--collect-only here, `minicomp lab run FILE --out DIR --resume` there",
            exit_code=ExitCode.UNAVAILABLE,
        ) from error
    count = len(columns["frame"])
    arrays = []
    for name in COLUMNS:
        values = [identity[name]] * count if name in identity else columns[name]
        arrays.append(_array(arrow, name, values))
    metadata = {f"minicomp.{key}": json.dumps(value, separators=(",", ":")) for key, value in about.items()}
    table = arrow.Table.from_arrays(arrays, names=list(COLUMNS)).replace_schema_metadata(metadata)
    partial = path.with_suffix(".partial")
    parquet.write_table(table, partial, compression="zstd", use_dictionary=list(REPEATED))
    os.replace(partial, path)
    return count


def _array(arrow: Any, name: str, values: Any) -> Any:
    if name in REPEATED:
        return arrow.array(list(values), arrow.string()).dictionary_encode()
    column = np.asarray(values)
    if name in SPANS:
        return arrow.array(column, arrow.float64(), mask=np.isnan(column))
    kind = arrow.int64() if name in TIMES or name in ("refresh_ns", "frame") else arrow.int32()
    missing = column == MISSING
    return arrow.array(np.where(missing, 0, column).astype(np.int64), arrow.int64(), mask=missing).cast(kind)
