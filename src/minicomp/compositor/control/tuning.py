"""The methods that turn a running compositor's screws: pacing, knobs, the step clock, the log level."""

from __future__ import annotations

import logging
from typing import Any

from minicomp.compositor.control.context import Context
from minicomp.compositor.control.jsonrpc import RpcError
from minicomp.compositor.control.looking import Looking
from minicomp.errors import ConfigError
from minicomp.msg.interface import INVALID_PARAMS, NOT_AVAILABLE, NOT_FOUND, REFUSED

log = logging.getLogger("minicomp.control")

_LONGEST_STEP_NS = 3_600_000_000_000  # an hour: every vblank of it is gone through


class Tuning:
    def __init__(self, context: Context, looking: Looking) -> None:
        self._context = context
        self._compositor = context.compositor
        self._looking = looking
        pacing = self._compositor.config.pacing
        self._pacing: tuple[str, float, float] = (pacing.mode, pacing.fixed_ms, pacing.target_miss_rate)

    def pacing_set(
        self, mode: str | None, fixed_ms: float | None, target_miss_rate: float | None
    ) -> list[dict[str, Any]]:
        if fixed_ms is not None and not 0 <= fixed_ms <= 1000:
            raise RpcError(INVALID_PARAMS, "pacing.set: fixed_ms must be 0 to 1000")
        if target_miss_rate is not None and not 0 < target_miss_rate < 1:
            raise RpcError(INVALID_PARAMS, "pacing.set: target_miss_rate must be above 0 and below 1")
        old_mode, old_fixed_ms, old_rate = self._pacing
        self._pacing = (
            mode or old_mode,
            old_fixed_ms if fixed_ms is None else fixed_ms,
            target_miss_rate or old_rate,
        )
        self._compositor.set_pacing(*self._pacing)
        return self._looking.pacing()

    # ---- knobs ----

    def knobs(self) -> list[dict[str, Any]]:
        from minicomp.compositor.knobs import effects

        return [effect.to_dict() for effect in effects(self._compositor)]

    def knob_set(self, name: str, value: Any) -> dict[str, Any]:
        from minicomp.compositor.knobs import apply_change
        from minicomp.lab.knobs.knob import KnobRefused

        try:
            return apply_change(self._compositor, name, value).to_dict()
        except ConfigError as error:
            raise RpcError(INVALID_PARAMS, f"knob.set: {error}") from None
        except KnobRefused as error:
            raise RpcError(REFUSED, str(error), {"todo": error.remedy, "errno": error.errno}) from None

    def log_level(self, level: str) -> dict[str, Any]:
        from minicomp.compositor.server import LOG_LEVELS

        logging.getLogger("minicomp").setLevel(level.upper())
        self._compositor.lib.mc_log_init(LOG_LEVELS[level])
        return {"level": level}

    # ---- the step clock ----

    def clock_advance(self, ns: int) -> dict[str, Any]:
        self._require_step_clock()
        if not 0 <= ns <= _LONGEST_STEP_NS:
            raise RpcError(INVALID_PARAMS, f"clock.advance: ns must be 0 to {_LONGEST_STEP_NS}")
        self._compositor.advance_ns(ns)
        return {"now_ns": self._compositor.now_ns()}

    def clock_vblank(self, output: str) -> dict[str, Any]:
        self._require_step_clock()
        if not self._context.output(output).enabled:
            raise RpcError(NOT_FOUND, f"output {output} is switched off: it has no vblanks")
        vblank_ns = self._compositor.advance_to_vblank(self._context.connector(output))
        return {"now_ns": self._compositor.now_ns(), "vblank_ns": vblank_ns}

    def _require_step_clock(self) -> None:
        if self._compositor.config.backend.clock != "step":
            raise RpcError(
                NOT_AVAILABLE, "time goes by itself here", {"todo": "minicomp run --backend headless --clock step"}
            )
