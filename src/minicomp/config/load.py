"""From a TOML file and overrides to a Config.

Overrides (`--set section.key=value` and the options of `minicomp run`) replace what the file says and are checked in
the same way. An error names the place of the setting at fault: `FILE:LINE` or the option. tomllib is imported only when
there is TOML to read; explaining an error is left to `explain`, which is imported only then.
"""

import re
from collections.abc import Sequence
from typing import Any

from minicomp.config.overrides import Override, lay_over
from minicomp.config.schema import Config
from minicomp.config.validation import ValidationError, convert
from minicomp.errors import ConfigError

_SYNTAX_ERROR_PLACE = r" \(at (?:line (\d+), column \d+|end of document)\)$"  # compiled only for an error


def load(file: str | None = None, overrides: Sequence[Override] = ()) -> Config:
    """The effective configuration. Raises ConfigError (exit code 2) with the place of the first mistake."""
    text = read_text(file) if file is not None else ""
    settings = parse_toml(text, file) if text else {}
    for override in overrides:
        lay_over(settings, override)
    if not settings:
        return Config()
    try:
        return convert(settings, Config)
    except ValidationError as error:
        from minicomp.config.explain import explained

        raise explained(str(error), settings, text, file, overrides) from None


def read_text(file: str) -> str:
    """The whole file. Raises ConfigError."""
    try:
        with open(file, encoding="utf-8") as opened:  # pathlib costs 4 ms of every start
            return opened.read()
    except OSError as error:
        raise ConfigError(f"cannot read the configuration: {error.strerror}", where=file) from None
    except UnicodeDecodeError:
        raise ConfigError("the configuration is not UTF-8 text", where=file) from None


def parse_toml(text: str, file: str | None) -> dict[str, Any]:
    """The tables of a TOML text; `file` names it in errors. Raises ConfigError."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = re.search(_SYNTAX_ERROR_PLACE, message)
        line = text.count("\n") + 1
        if place:
            message = message[: place.start()]
            line = int(place[1] or line)
        raise ConfigError(f"not valid TOML: {message}", where=f"{file}:{line}") from None
