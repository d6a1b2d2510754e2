"""What every part of the bench needs of the checkout, and how each comes by its result."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import BenchError

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAM = CHECKOUT / ".venv/bin/minicomp"
CLIENTS = CHECKOUT / "build/clients"


def check_built(*files: Path) -> None:
    """Raises BenchError when one is missing."""
    for file in files:
        if not file.exists():
            raise BenchError(f"{file.relative_to(CHECKOUT)} is missing: run scripts/setup --tests")


def obtain(
    options: argparse.Namespace, measure: Callable[[], dict[str, Any]], *expected: type[Exception]
) -> dict[str, Any] | int:
    """The result that `--show` names, or one measured now and written to `--json`; the exit code when there is none.

    What ends a measurement with one line: BenchError, OSError, ValueError, and the `expected` ones.
    """
    try:
        if options.show is not None:
            shown: dict[str, Any] = json.loads(options.show.read_text())
            return shown
        result = measure()
        if options.json is not None:
            options.json.write_text(json.dumps(result, indent=1))
    except (BenchError, OSError, ValueError, *expected) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return result
