"""The configuration: a TOML file and `--set` options become frozen, validated structs.

`load()` is the only way in; `schema` holds the sections and their defaults, `modes` the syntax of display modes. Errors
are explained by `explain`, which is imported only when there is one: this package is on the start-up path of
`minicomp run`. It imports nothing of minicomp but `errors`.
"""

from minicomp.config.load import load
from minicomp.config.modes import Mode, parse_mode
from minicomp.config.overrides import Override, parse_set
from minicomp.config.schema import Config, OutputSettings, RunOptions

__all__ = ["Config", "Mode", "OutputSettings", "Override", "RunOptions", "load", "parse_mode", "parse_set"]
