"""Answers for people: objects as `key  value` lines, lists of objects as tables, events as one line each."""

import time
from collections.abc import Iterable
from typing import Any

_WIDEST = 48  # of a table's cell but the last; longer text ends in an ellipsis
_NEWS = {"took_effect"}  # columns whose "no" is worth reading


def as_text(answer: Any) -> str:
    """Any answer, as lines that end with a newline."""
    return "".join(f"{line}\n" for line in _lines(answer))


def event_line(event: dict[str, Any]) -> str:
    """`12:01:02.345 window.map  id 0x10001  app_id foot  ...`"""
    seconds = (event["time_ns"] + time.time_ns() - time.monotonic_ns()) / 1e9
    stamp = time.strftime("%H:%M:%S", time.localtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}"
    details: dict[str, Any] = {}
    for key, value in event.items():
        if isinstance(value, dict):
            details.update(_telling(value))
        elif key not in ("event", "time_ns"):
            details[key] = "none" if value is None else value
    return f"{stamp} {event['event']:<14} " + "  ".join(f"{key} {_cell(value)}" for key, value in details.items())


def _telling(thing: dict[str, Any]) -> dict[str, Any]:
    """Of a window or output, what tells it from others and where it is."""
    chosen = {key: thing[key] for key in ("id", "name", "app_id", "title", "mode", "scale") if thing.get(key)}
    if thing.get("width"):
        chosen["at"] = f"{thing['x']},{thing['y']} {thing['width']}x{thing['height']}"
    return chosen


def _lines(answer: Any) -> Iterable[str]:
    if isinstance(answer, list) and answer and all(isinstance(row, dict) for row in answer):
        yield from _table(answer)
    elif isinstance(answer, list):
        yield from (map(_cell, answer) if answer else ("none",))
    elif isinstance(answer, dict):
        yield from _object(answer)
    else:
        yield _cell(answer)


def _object(answer: dict[str, Any]) -> Iterable[str]:
    """Plain values first, then each table under its title."""
    plain = {key: value for key, value in answer.items() if not _is_nested(value)}
    width = max(map(len, plain), default=0)
    for key, value in plain.items():
        yield f"{key:<{width}}  {_cell(value, None)}".rstrip()
    between = bool(plain)
    for key, value in answer.items():
        if _is_nested(value):
            if between:
                yield ""
            between = True
            yield f"{key}:"
            yield from (f"  {line}".rstrip() for line in _lines(value))


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))


def _table(rows: list[dict[str, Any]]) -> Iterable[str]:
    """Columns with nothing in any row are left out."""
    names = [name for name in rows[0] if name in _NEWS or not all(_is_nothing(row.get(name)) for row in rows)]
    limits = [*(_WIDEST for _ in names[1:]), None]  # nothing is to the right of the last, which is often a reason
    cells = [names, *([_cell(row.get(name), limit) for name, limit in zip(names, limits, strict=True)] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(names))]
    numeric = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    for line in cells:
        padded = (
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, numeric, strict=True)
        )
        yield "  ".join(padded).rstrip()


def _is_nothing(value: Any) -> bool:
    return value is None or value is False or value in ("", [])


def _cell(value: Any, widest: int | None = _WIDEST) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, dict):
        value = ", ".join(f"{key} {_cell(item, None)}" for key, item in value.items())
    if isinstance(value, list):
        value = ", ".join(_cell(item, None) for item in value)
    text = "".join(character if character.isprintable() else "?" for character in str(value))
    return text if widest is None or len(text) <= widest else text[: widest - 1] + "…"
