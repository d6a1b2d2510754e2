"""Frame schedulers by name: `make_policy("sway:4/4", display)`. One module a scheduler; `base` is what they share."""

from __future__ import annotations

import re
from collections.abc import Callable

from minicomp.errors import ExitCode, MinicompError
from minicomp.lab.replay.policies.base import Display, Policy
from minicomp.lab.replay.policies.gamescope import Gamescope
from minicomp.lab.replay.policies.kwin import KWin
from minicomp.lab.replay.policies.mutter import Mutter
from minicomp.lab.replay.policies.own import adaptive, asap, fixed
from minicomp.lab.replay.policies.sway import Sway
from minicomp.lab.replay.policies.weston import Weston

FORMS = ("asap", "fixed:TIMEms", "adaptive", "kwin", "mutter", "gamescope", "weston", "sway", "sway:OUTPUT/VIEW")
"""What --policy takes; sway's two numbers are its max_render_time settings in ms."""
DEFAULT = "asap,fixed:4ms,adaptive,kwin,mutter,gamescope,weston,sway,sway:4/4,sway:2/1"

_PLAIN: dict[str, Callable[[Display], Policy]] = {
    "asap": asap,
    "adaptive": adaptive,
    "kwin": KWin,
    "mutter": Mutter,
    "gamescope": Gamescope,
    "weston": Weston,
    "sway": Sway,
}
_FIXED = re.compile(r"fixed:(\d+(?:\.\d+)?)(ms|us)")
_SWAY = re.compile(r"sway:(\d{1,3})/(\d{1,3})")


def make_policy(name: str, display: Display) -> Policy:
    """A scheduler with nothing learned yet. Raises MinicompError when there is none of that name."""
    if name in _PLAIN:
        return _PLAIN[name](display)
    if match := _FIXED.fullmatch(name):
        return fixed(display, name, round(float(match[1]) * {"ms": 1e6, "us": 1e3}[match[2]]))
    if match := _SWAY.fullmatch(name):
        return Sway(display, int(match[1]), int(match[2]))
    raise MinicompError(
        f"no policy {name!r}", where="--policy", todo=f"one of: {', '.join(FORMS)}", exit_code=ExitCode.USAGE
    )
