"""Turns a rejected setting into one line a user can act on: where it is, what is allowed, and what was probably meant.

Imported only when there is an error, so it may be slow. msgspec reports the path of the value at fault
(`$.output[0].scale`) but no line, so the place is looked for in the TOML text by `locate`; what is allowed comes from
the types and descriptions in `schema`.
"""

import re
import types
import typing
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Union

from minicomp.config.locate import PathPart, line_of
from minicomp.config.overrides import Override
from minicomp.config.schema import Config
from minicomp.config.validation import Meta, Struct
from minicomp.errors import ConfigError

_PATH = re.compile(r" - at `(?P<path>\$[^`]*)`$")
_PATH_PART = re.compile(r"\.([^.\[]+)|\[(\d+)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
_REQUIRED = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_QUOTED_CHOICE = re.compile(r'"([a-z-]+)"')
_PLAIN = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def explained(
    message: str,
    settings: dict[str, Any],
    text: str,
    file: str | None,
    overrides: Sequence[Override],
    schema: type[Struct] = Config,
) -> ConfigError:
    """The ConfigError for msgspec's `message` about `settings` (read from `text`, with `overrides` laid over it).

    `schema` is what they were to become: a Config, or the contents of another kind of file.
    """
    place = _PATH.search(message)
    reason = message[: place.start()] if place else message
    path: list[PathPart] = []
    if place:
        path = [name or int(index) for name, index in _PATH_PART.findall(place["path"])]

    if unknown := _UNKNOWN.match(reason):
        path.append(unknown["name"])
        what, todo = _unknown_key(path, schema)
    elif required := _REQUIRED.match(reason):
        what, todo = f"{required['name']} is missing: {allowed(_type_at([*path, required['name']], schema))}", ""
    elif reason.startswith(("Expected", "Invalid")):
        what, todo = _wrong_value(path, settings, schema)
    else:  # a rule of the schema itself, which says it better
        what, todo = reason, ""
    return ConfigError(
        f"{dotted(path)}: {what}" if path else what, where=_where(path, text, file, overrides), todo=todo
    )


def dotted(path: Sequence[PathPart]) -> str:
    """`output[0].scale`, as the documentation writes it."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def allowed(kind: Any) -> str:
    """What a value of the type `kind` may be, in words."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        descriptions = [meta.description for meta in arguments[1:] if isinstance(meta, Meta) and meta.description]
        return descriptions[0] if descriptions else allowed(arguments[0])
    if choices := _choices(kind):
        return ("one of " if len(choices) > 1 else "") + ", ".join(f'"{choice}"' for choice in choices)
    if origin in (Union, types.UnionType):
        return " or ".join(allowed(kind) for kind in arguments if kind is not type(None))
    if origin is tuple:
        if _is_section(arguments[0]):
            return "a list of tables"
        return f"a list [...], each {allowed(arguments[0])}"
    if origin is dict or _is_section(kind):
        return "a table"
    return _PLAIN[kind] if kind in _PLAIN else str(kind)


def _unknown_key(path: Sequence[PathPart], schema: type[Struct]) -> tuple[str, str]:
    known = list(_fields_at(path[:-1], schema))
    close = get_close_matches(str(path[-1]), known, n=1, cutoff=0.6)
    noun = "key" if len(path) > 1 else "section"
    return f"unknown {noun}; allowed are: {', '.join(known)}", f'did you mean "{close[0]}"?' if close else ""


def _wrong_value(path: Sequence[PathPart], settings: dict[str, Any], schema: type[Struct]) -> tuple[str, str]:
    value = _value_at(path, settings)
    kind = _type_at(path, schema)
    todo = ""
    if isinstance(value, str):
        close = get_close_matches(value, _choices(kind) or _QUOTED_CHOICE.findall(allowed(kind)), n=1, cutoff=0.6)
        if close:
            todo = f'did you mean "{close[0]}"?'
    elif _plain_type(kind) is str:
        todo = "a string is written in quotes"
    return f"{_shown(value)} is not allowed; allowed: {allowed(kind)}", todo


def _where(path: Sequence[PathPart], text: str, file: str | None, overrides: Sequence[Override]) -> str:
    names = tuple(part for part in path if isinstance(part, str))
    for override in overrides[::-1]:
        shorter = min(len(names), len(override.path))
        if names[:shorter] == override.path[:shorter]:
            return override.where
    if file is None:
        return overrides[-1].where
    return f"{file}:{line_of(text, path)}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (int, float)):
        return str(value)
    return "a table" if isinstance(value, dict) else "a list"


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _without_none(kind: Any) -> Any:
    if typing.get_origin(kind) in (Union, types.UnionType):
        rest = [member for member in typing.get_args(kind) if member is not type(None)]
        return rest[0] if len(rest) == 1 else kind
    return kind


def _plain_type(kind: Any) -> Any:
    kind = _without_none(kind)
    return _plain_type(typing.get_args(kind)[0]) if typing.get_origin(kind) is Annotated else kind


def _choices(kind: Any) -> list[str]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return [str(value) for value in arguments]
    if origin in (Union, types.UnionType):
        return [choice for member in arguments for choice in _choices(member)]
    return []


def _type_at(path: Sequence[PathPart], schema: type[Struct]) -> Any:
    kind: Any = schema
    for part in path:
        inner = _plain_type(kind)
        if isinstance(part, int):
            arguments = typing.get_args(inner)
            kind = arguments[part] if Ellipsis not in arguments and part < len(arguments) else arguments[0]
        elif _is_section(inner):
            kind = typing.get_type_hints(inner, include_extras=True)[_field(inner, part)]
        else:
            return Any
    return kind


def _fields_at(path: Sequence[PathPart], schema: type[Struct]) -> tuple[str, ...]:
    section = _type_at(path, schema)
    return section.__struct_encode_fields__ if _is_section(section) else ()


def _field(section: Any, key: PathPart) -> str:
    """The field behind a key; they differ where the key is a word of Python's (`class`)."""
    return str(dict(zip(section.__struct_encode_fields__, section.__struct_fields__, strict=True))[key])


def _value_at(path: Sequence[PathPart], settings: Any) -> Any:
    for part in path:
        settings = settings[part]
    return settings
