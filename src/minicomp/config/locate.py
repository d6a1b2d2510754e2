"""Finds the line of a setting in TOML text: tomllib keeps no positions.

The scan knows what a line can begin: a `[table]` or `[[list of tables]]` header, or `key =`. Values are skipped over as
wholes, so that brackets, strings and comments inside them are never taken for keys. The text has been accepted by
tomllib before, so the scan need not judge it.
"""

import re
from collections.abc import Iterator, Sequence

PathPart = str | int
"""A key, or an index in a list: `output[0].scale` is ("output", 0, "scale")."""

_HEADER = re.compile(r"[ \t]*(\[\[?)([^\]\n]+)\]\]?")
_KEY = re.compile(r"""[ \t]*((?:"[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_-]+|[ \t]*\.[ \t]*)+)[ \t]*=""")
_KEY_PART = re.compile(r""""([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+)""")
_VALUE_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""+|'
    r"'''.*?'''+|"
    r'"(?:\\.|[^"\\\n])*"|'
    r"'[^'\n]*'|"
    r"#[^\n]*|"
    r"[\[{]|[\]}]|\n|[^\[\]{}\n\"'#]+",
    re.DOTALL,
)


def line_of(text: str, path: Sequence[PathPart]) -> int:
    """The line (from 1) of the setting at `path`, or of the nearest table around it; 1 when there is neither."""
    wanted = tuple(path)
    best_line, best_length = 1, 0
    for line, found in _settings(text):
        length = _common_length(found, wanted)
        if length == len(found) and length > best_length:
            best_line, best_length = line, length
    return best_line


def _settings(text: str) -> Iterator[tuple[int, tuple[PathPart, ...]]]:
    """Every header and key with its line and full path."""
    table: tuple[PathPart, ...] = ()
    counts: dict[tuple[PathPart, ...], int] = {}
    position = 0
    while position < len(text):
        line = text.count("\n", 0, position) + 1
        if header := _HEADER.match(text, position):
            table = _resolved(_parts(header[2]), counts)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            yield line, table
            position = header.end()
        elif key := _KEY.match(text, position):
            yield line, (*table, *_parts(key[1]))
            position = _end_of_value(text, key.end())
        position = text.find("\n", position) + 1 or len(text)


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(a or b or c for a, b, c in _KEY_PART.findall(dotted))


def _resolved(names: Sequence[str], counts: dict[tuple[PathPart, ...], int]) -> tuple[PathPart, ...]:
    """`names` with the current index after each list of tables on the way to the last name."""
    path: tuple[PathPart, ...] = ()
    for index, name in enumerate(names):
        path = (*path, name)
        if path in counts and index < len(names) - 1:
            path = (*path, counts[path])
    return path


def _end_of_value(text: str, position: int) -> int:
    """Where the value that starts at `position` ends: at the first line end outside brackets and strings."""
    depth = 0
    while position < len(text):
        token = _VALUE_TOKEN.match(text, position)
        if token is None:  # cannot happen in valid TOML
            return position
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        elif token[0] == "\n" and depth <= 0:
            return position
        position = token.end()
    return position


def _common_length(first: Sequence[PathPart], second: Sequence[PathPart]) -> int:
    length = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        length += 1
    return length
