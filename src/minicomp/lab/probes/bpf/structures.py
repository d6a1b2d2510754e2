"""Kernel structures as the document prints them, against the running kernel's BTF. Shared by the sections' probes."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping

from minicomp.lab.probes.bpf.btf import BTF, read_btf
from minicomp.lab.probes.probe import Budget, Number, Result, holds
from minicomp.lab.probes.requirements import path

has_btf = path(str(BTF), "a kernel with CONFIG_DEBUG_INFO_BTF")


def compare(name: str, fields: tuple[str, ...], renamed: Mapping[str, str]) -> Callable[[Budget], Result]:
    """A measurement: holds when the kernel's struct has every field by the document's name.

    `renamed`: what a field that is missing is called today, or where its content went.
    """

    def measure(budget: Budget) -> Result:
        found = read_btf().structure(name)
        missing = [field for field in fields if field not in found.offsets]
        seen = (
            f"Linux {platform.release()}: struct {name} has {found.size} bytes and {len(fields) - len(missing)} of the "
        )
        seen += f"document's {len(fields)} fields"
        words = [f"{field} ({_now(renamed[field], found.offsets)})" if field in renamed else field for field in missing]
        seen += f"; not {', '.join(words)}" if missing else ": " + ", ".join(fields)
        return holds(seen, Number.exact("size", found.size, "bytes"), when=not missing)

    return measure


def _now(name: str, offsets: Mapping[str, int]) -> str:
    return f"it is called {name}" if name in offsets else name
