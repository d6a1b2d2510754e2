"""Settings from the command line, which take the place of the file's: `--set section.key=value` and named options."""

import re
from typing import Any, NamedTuple

from minicomp.errors import ConfigError

_PLAIN_WORD = r"(?!(?:true|false|inf|nan)$)[A-Za-z][\w./:@+-]*"  # compiled only for --set: it takes 80 us


class Override(NamedTuple):
    """One setting that takes the place of the file's. `where` names it in errors: `--set log.level=debug`."""

    path: tuple[str, ...]
    value: Any
    where: str


def parse_set(argument: str) -> Override:
    """`section.key=value` as an override; the value is TOML, or a string without quotes."""
    where = f"--set {argument}"
    name, equals, value = argument.partition("=")
    path = tuple(name.strip().split("."))
    if not equals or not all(path):
        raise ConfigError("not of the form section.key=value", where=where, todo="for example --set log.level=debug")
    return Override(path, _parse_value(value.strip()), where)


def lay_over(settings: dict[str, Any], override: Override) -> None:
    """Puts one override into the settings. A path through something that is no table is left for validation to name."""
    table = settings
    for name in override.path[:-1]:
        inner = table.get(name)
        if not isinstance(inner, dict):
            if isinstance(inner, list):
                raise ConfigError(
                    f"{name} is a list of tables; --set can only replace it as a whole",
                    where=override.where,
                    todo=f"write --set '{name}=[{{...}}]' or a configuration file",
                )
            inner = table[name] = {}
        table = inner
    table[override.path[-1]] = override.value


def _parse_value(value: str) -> Any:
    if re.fullmatch(_PLAIN_WORD, value):
        return value
    if value.isascii() and value.isdigit():
        return int(value)
    import tomllib

    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        return value
    return parsed["value"] if parsed.keys() == {"value"} else value
