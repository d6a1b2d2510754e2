"""Writes a Config back as TOML, so that `minicomp config show > FILE` is a configuration that loads to the same."""

import json
from typing import Any

from minicomp.config.knobs import KnobSettings, KnobTable
from minicomp.config.schema import Config

_TABLES_INSIDE = {
    "knobs": tuple(
        name for name in KnobSettings.__struct_fields__ if isinstance(getattr(KnobSettings(), name), KnobTable)
    )
}
"""Tables inside a table; other tables there (policy.options) are the user's own."""


def as_toml(config: Config) -> str:
    """Every setting with its effective value; settings without one (an output's position) are left out."""
    blocks: list[str] = []
    lists: list[str] = []
    for section, settings in config.to_dict().items():
        if isinstance(settings, (list, tuple)):
            lists += [_table(f"[[{section}]]", item) for item in settings]
            continue
        nested = {key: value for key, value in settings.items() if _is_list_of_tables(value)}
        tables = _TABLES_INSIDE.get(section, ())
        plain = {key: value for key, value in settings.items() if key not in nested and key not in tables}
        blocks.append(_table(f"[{section}]", plain))
        blocks += [_table(f"[{section}.{key}]", settings[key]) for key in tables]
        blocks += [_table(f"[[{section}.{key}]]", item) for key, items in nested.items() for item in items]
    return "\n".join(blocks + lists)


def _table(header: str, settings: dict[str, Any]) -> str:
    lines = [f"{_key(key)} = {_value(value)}" for key, value in settings.items() if value is not None]
    return "\n".join([header, *lines, ""])


def _is_list_of_tables(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], dict)


def _key(key: str) -> str:
    plain = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if plain else json.dumps(key)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(inner) for inner in value) + "]"
    if isinstance(value, (str, bool)):
        return json.dumps(value)
    return str(value)
