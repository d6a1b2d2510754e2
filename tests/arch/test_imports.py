"""Who may import whom: the rooms of ARCHITECTURE.md, kept by reading every import statement.

`MAY_IMPORT` is the rule: the longest prefix of a module's name decides which other parts of minicomp it may import.
Imports under `if TYPE_CHECKING:` are not counted: they do not exist when the program runs.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
ANYTHING = ("minicomp",)

COMPOSITOR = (
    "minicomp.compositor",
    "minicomp.config",
    "minicomp.doctor.libraries",
    "minicomp.errors",
    "minicomp.lab.knobs",
    "minicomp.logs",
    "minicomp.msg.interface",
    "minicomp.native.pure",
    "minicomp.native.wlr",
    "minicomp.shell",
)

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "minicomp": (),
    # The composition roots put the parts together.
    "minicomp.__main__": ("minicomp.cli",),
    "minicomp.cli": ANYTHING,
    "minicomp.demo": ANYTHING,
    "minicomp.errors": (),
    "minicomp.logs": (),
    "minicomp.config": ("minicomp.config", "minicomp.errors"),
    "minicomp.doctor": ("minicomp.doctor", "minicomp.errors"),
    "minicomp.inspect": ("minicomp.errors", "minicomp.inspect"),
    "minicomp.msg": ("minicomp.errors", "minicomp.msg"),
    # A compiled module is seen by its own __init__ only.
    "minicomp.native": (),
    "minicomp.native.pure": ("minicomp.native.pure._pure",),
    "minicomp.native.pure.build": ("minicomp.native.sources",),
    "minicomp.native.probes": ("minicomp.native.probes._probes",),
    "minicomp.native.probes.build": ("minicomp.native.sources",),
    "minicomp.native.wlr": ("minicomp.native.wlr._wlr",),
    "minicomp.native.wlr.build": ("minicomp.native.sources",),
    "minicomp.compositor": COMPOSITOR,
    # `run --stats` reads its own run file when the compositor is gone; before that, test_run_imports_no_lab holds.
    "minicomp.compositor.run": (*COMPOSITOR, "minicomp.lab.kernel", "minicomp.lab.pipeline", "minicomp.lab.report"),
    "minicomp.shell": ("minicomp.compositor", "minicomp.config", "minicomp.errors", "minicomp.shell"),
    # The lab's readers work on machines without wlroots: run files in, numbers out.
    "minicomp.lab": (),
    "minicomp.lab.knobs": ("minicomp.config", "minicomp.errors", "minicomp.lab.knobs"),
    "minicomp.lab.helper": ("minicomp.errors", "minicomp.lab.helper", "minicomp.lab.knobs"),
    "minicomp.lab.probes": (
        "minicomp.errors",
        "minicomp.lab.kernel.tracefs",
        "minicomp.lab.knobs",
        "minicomp.lab.pipeline",
        "minicomp.lab.probes",
        "minicomp.lab.report.svg",  # a canvas and scales, no more
        "minicomp.native.probes",
        "minicomp.native.pure",
    ),
    "minicomp.lab.pipeline": ("minicomp.errors", "minicomp.lab.pipeline"),
    "minicomp.lab.pipeline.commands": (
        "minicomp.errors",
        "minicomp.lab.kernel",
        "minicomp.lab.pipeline",
        "minicomp.lab.report",
    ),
    # Records and reads the kernel's side of a trace: a process beside the compositor, and a reader of its file.
    "minicomp.lab.kernel": ("minicomp.errors", "minicomp.lab.kernel"),
    "minicomp.lab.statistics": ("minicomp.errors", "minicomp.lab.pipeline", "minicomp.lab.statistics"),
    "minicomp.lab.report": (
        "minicomp.errors",
        "minicomp.lab.pipeline",
        "minicomp.lab.report",
        "minicomp.lab.statistics",
    ),
    # Drives the compositor's own pacing code, which needs no wlroots either.
    "minicomp.lab.replay": (
        "minicomp.errors",
        "minicomp.lab.pipeline",
        "minicomp.lab.replay",
        "minicomp.lab.report.columns",
        "minicomp.lab.report.text",
        "minicomp.native.pure",
    ),
    "minicomp.lab.top": ("minicomp.errors", "minicomp.lab.pipeline", "minicomp.lab.top"),
    "minicomp.lab.experiments": (
        "minicomp.config",
        "minicomp.errors",
        "minicomp.lab.experiments",
        "minicomp.lab.kernel.reader",
        "minicomp.lab.knobs",
        "minicomp.lab.pipeline",
        "minicomp.lab.report",
    ),
    # Runs a compositor inside the test's process.
    "minicomp.testing": (*COMPOSITOR, "minicomp.testing"),
}

BINDINGS = {
    "wlroots": ("minicomp.compositor", "minicomp.native.wlr.build"),
    "pywayland": ("minicomp.compositor", "minicomp.testing"),
    "xkbcommon": ("minicomp.compositor", "minicomp.testing"),
    "cffi": ("minicomp.native.probes.build", "minicomp.native.pure.build", "minicomp.native.wlr.build"),
}
"""Packages that only some rooms may import."""

NOT_FOR_PARSING = (
    "asyncio", "cffi", "dataclasses", "inspect", "json", "logging", "numpy", "pathlib", "perfetto", "pywayland", "rich",
    "shutil", "subprocess", "tempfile", "tomllib", "typing_extensions", "wlroots", "xkbcommon",
    "minicomp.compositor", "minicomp.demo", "minicomp.doctor", "minicomp.lab", "minicomp.testing",
)  # fmt: skip
"""What `minicomp run` must not have imported when it has read its arguments: each costs milliseconds of every start."""

NOT_FOR_RUNNING = (
    "asyncio", "numpy", "perfetto", "rich", "typing_extensions", "unittest",
    "minicomp.demo", "minicomp.lab", "minicomp.native.probes", "minicomp.testing",
)  # fmt: skip
"""What it must not have imported when the compositor is about to start."""


class Import(NamedTuple):
    importer: str
    line: int
    imported: str

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in sorted(SOURCE.rglob("*.py"))}


def imports_of(importer: str, file: Path) -> Iterator[Import]:
    """Every module that `file` imports, at its top or inside a function."""
    for node in walk_run_time(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(importer, node.lineno, name.name)
        elif isinstance(node, ast.ImportFrom):
            package = node.module or ""
            if node.level:
                is_package = file.name == "__init__.py"
                base = importer.split(".")[: len(importer.split(".")) - node.level + is_package]
                package = ".".join([*base, package] if package else base)
            for name in node.names:
                submodule = f"{package}.{name.name}"
                yield Import(importer, node.lineno, submodule if is_module(submodule) else package)


def is_module(name: str) -> bool:
    return name in MODULES or name.endswith((".native.pure._pure", ".native.probes._probes", ".native.wlr._wlr"))


def walk_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for other in node.orelse:
                yield from walk_run_time(other)
            continue
        yield node
        yield from walk_run_time(node)


ALL_IMPORTS = [found for name, file in MODULES.items() for found in imports_of(name, file)]


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def rule_for(importer: str) -> tuple[str, ...]:
    """The allowance of the longest prefix; the parts of the top package each need a rule of their own."""
    parts = importer.split(".")
    for length in range(len(parts), 1, -1):
        prefix = ".".join(parts[:length])
        if prefix in MAY_IMPORT:
            return MAY_IMPORT[prefix]
    if importer == "minicomp":
        return MAY_IMPORT["minicomp"]
    raise AssertionError(f"{importer} is in no room: give it a rule in MAY_IMPORT")


def test_the_rooms_keep_their_directions() -> None:
    # A package's own name is no import of anything: `from minicomp import cli` is minicomp.cli.
    inside = [found for found in ALL_IMPORTS if within(found.imported, ("minicomp",)) and found.imported != "minicomp"]
    assert inside, "found no imports at all: the test itself is broken"
    assert [str(found) for found in inside if not within(found.imported, rule_for(found.importer))] == []


def test_a_compiled_module_is_seen_by_its_own_package_only() -> None:
    compiled = [found for found in ALL_IMPORTS if found.imported.endswith(("._pure", "._probes", "._wlr"))]
    strangers = [str(found) for found in compiled if found.imported.rpartition(".")[0] != found.importer]
    assert strangers == []


def test_the_bindings_stay_in_their_rooms() -> None:
    strangers = [
        str(found)
        for found in ALL_IMPORTS
        if (package := found.imported.split(".")[0]) in BINDINGS and not within(found.importer, BINDINGS[package])
    ]
    assert strangers == []


def test_no_module_imports_itself_around_a_corner() -> None:
    """No cycles, also none through imports inside functions."""
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for found in ALL_IMPORTS:
        if found.imported in MODULES and found.imported != found.importer:
            graph[found.importer].add(found.imported)
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            pytest.fail("import cycle: " + " -> ".join([*path[path.index(name) :], name]))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_clients_import_nothing_of_minicomp() -> None:
    """They are programs of their own: what they measure must not depend on what they measure it with."""
    guilty = [
        str(found)
        for file in sorted((ROOT / "clients").rglob("*.py"))
        for found in imports_of(file.stem, file)
        if within(found.imported, ("minicomp",))
    ]
    assert guilty == []


def test_nothing_is_called_utils() -> None:
    """A name that says what it is for, or it does not belong together."""
    folders = [ROOT / name for name in ("src", "clients", "tests", "scripts")]
    names = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".c", ".h", "")]
    assert [str(path.relative_to(ROOT)) for path in names if path.stem in ("util", "utils")] == []


def modules_loaded_by(script: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_run_imports_almost_nothing_to_read_its_arguments() -> None:
    baseline = modules_loaded_by("pass")  # what the interpreter and the venv's .pth files load anyway
    line = [
        "--backend",
        "headless",
        "--trace",
        "t",
        "--set",
        "log.level=debug",
        "--set",
        "headless.latch_us=5",
        "--",
        "x",
    ]
    loaded = modules_loaded_by(f"from minicomp import cli\ncli.parse_run({line})") - baseline
    assert "minicomp.config.schema" in loaded
    assert sorted(name for name in loaded if within(name, NOT_FOR_PARSING)) == []


def test_run_imports_no_lab_and_no_event_loop_to_start() -> None:
    loaded = modules_loaded_by(
        "from minicomp import cli, logs\ncli.parse_run(['--', 'x'])\nimport minicomp.compositor.run"
    )
    assert sorted(name for name in loaded if within(name, NOT_FOR_RUNNING)) == []
