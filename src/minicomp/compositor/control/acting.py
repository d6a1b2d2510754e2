"""The methods that change outputs, windows and clients.

Windows belong to the policy: it is asked on its own thread, by the hooks that a taskbar's or the window's own wish
would call, and may refuse. The answer is the window as it is then; clients take their time to follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minicomp.compositor.control.context import Context, format_handle, parse_handle
from minicomp.compositor.control.jsonrpc import RpcError, Waiting
from minicomp.compositor.control.looking import describe_output, describe_window
from minicomp.compositor.geometry import Box
from minicomp.config import Mode, parse_mode
from minicomp.config.schema import OutputSettings
from minicomp.config.validation import ValidationError, convert
from minicomp.msg.interface import INVALID_PARAMS, NOT_AVAILABLE, NOT_FOUND, REFUSED

if TYPE_CHECKING:
    from minicomp.compositor.windows import Window

_FARTHEST = 1_000_000  # layout units
_LARGEST = 65_535  # what mc_window_configure takes


class Acting:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._compositor = context.compositor
        self._policy = context.dispatcher.policy

    # ---- outputs ----

    def output_set(self, output: str, **wanted: Any) -> Waiting:
        changes = {name: value for name, value in wanted.items() if value is not None}

        def act() -> None:
            before = self._context.output(output)
            outputs = self._compositor.outputs
            if set(changes) == {"enabled"}:
                done = outputs.set_enabled(before.handle, changes["enabled"])
            else:
                done = outputs.configure(before.handle, _settings(before, changes))
            if not done:
                raise RpcError(REFUSED, f"the display {output} refuses this; nothing was changed")

        yield from self._context.on_policy(act)
        return describe_output(self._context.output(output))

    def output_plug(self, mode: str, connector: int) -> dict[str, Any]:
        self._require_headless()
        try:
            wanted = parse_mode(mode)
        except ValueError as error:
            raise RpcError(INVALID_PARAMS, str(error)) from None
        if not 0 <= connector <= 64:
            raise RpcError(INVALID_PARAMS, "output.plug: connector must be 0 to 64")
        number = self._compositor.plug(wanted.width, wanted.height, wanted.refresh_mhz or 60_000, connector)
        return {"output": f"HEADLESS-{number}", "connector": number}

    def output_unplug(self, output: str) -> dict[str, Any]:
        self._compositor.unplug(self._connector(output))
        return {"output": output}

    def output_fault(self, output: str, vblanks: int, count: int) -> dict[str, Any]:
        connector = self._connector(output)
        if not (0 <= vblanks <= 1000 and 0 <= count <= 1_000_000):
            raise RpcError(INVALID_PARAMS, "output.fault: vblanks is 0 to 1000, count 0 to 1000000")
        compositor = self._compositor
        if compositor.lib.mc_vdisplay_inject_fault(compositor.server, connector, vblanks, count) != 0:
            raise RpcError(NOT_FOUND, f"there is no modelled display {output}")
        return {"output": output, "vblanks": vblanks, "count": count}

    def _connector(self, name: str) -> int:
        self._require_headless()
        return self._context.connector(name)

    def _require_headless(self) -> None:
        if self._compositor.backend_kind != "headless":
            raise RpcError(NOT_AVAILABLE, f"the {self._compositor.backend_kind} backend has no modelled displays")

    # ---- windows ----

    def window_focus(self, window: str) -> Waiting:
        return self._ask(
            window,
            "on_window_request_activate",
            lambda found: self._policy.on_window_request_activate(found, "taskbar"),
        )

    def window_close(self, window: str) -> Waiting:
        return self._ask(window, "on_window_request_close", self._policy.on_window_request_close)

    def window_fullscreen(self, window: str, on: bool) -> Waiting:
        return self._ask(
            window,
            "on_window_request_fullscreen",
            lambda found: self._policy.on_window_request_fullscreen(found, on, None),
        )

    def window_maximize(self, window: str, on: bool) -> Waiting:
        return self._ask(
            window, "on_window_request_maximize", lambda found: self._policy.on_window_request_maximize(found, on)
        )

    def window_minimize(self, window: str, on: bool) -> Waiting:
        return self._ask(
            window, "on_window_request_minimize", lambda found: self._policy.on_window_request_minimize(found, on)
        )

    def window_place(self, window: str, x: int | None, y: int | None, width: int | None, height: int | None) -> Waiting:
        for name, value in (("x", x), ("y", y)):
            if value is not None and abs(value) > _FARTHEST:
                raise RpcError(INVALID_PARAMS, f"window.place: {name} must be {-_FARTHEST} to {_FARTHEST}")
        for name, value in (("width", width), ("height", height)):
            if value is not None and not 1 <= value <= _LARGEST:
                raise RpcError(INVALID_PARAMS, f"window.place: {name} must be 1 to {_LARGEST}")

        def ask(found: Window) -> None:
            old = found.geometry
            given = (x, y, width, height)
            box = Box(*(now if now is not None else before for now, before in zip(given, old, strict=True)))
            self._policy.on_window_request_place(found, box)

        return self._ask(window, "on_window_request_place", ask)

    def window_kill(self, window: str) -> Waiting:
        def kill(found: Window) -> None:
            found.kill_client()

        return self._ask(window, "window.kill", kill, hook=False)

    def _ask(self, text: str, name: str, ask: Callable[[Window], object], hook: bool = True) -> Waiting:
        """Runs `ask` with the policy's own Window; the answer describes it afterwards."""
        handle = self._context.find_window(text)

        def act() -> None:
            window = self._context.dispatcher.windows.get(handle)
            if window is None or not window.refresh():
                raise RpcError(NOT_FOUND, f'no window "{text}" any more')
            if hook:
                self._context.guard(name, lambda: ask(window))
            else:
                ask(window)

        yield from self._context.on_policy(act)
        after = self._context.read_window(handle)
        if after is None:
            return {"id": format_handle(handle), "gone": True}
        return describe_window(after, self._compositor.seat.focused)

    def client_kill(self, client: str) -> dict[str, Any]:
        handle = parse_handle(client)
        if not handle or self._compositor.lib.mc_client_kill(self._compositor.server, handle) != 0:
            raise RpcError(NOT_FOUND, f'there is no client "{client}"')
        return {"client": client}

    # ---- the rest ----

    def action(self, action: str) -> Waiting:
        def act() -> None:
            self._context.guard("on_binding", lambda: self._policy.on_binding(action))

        yield from self._context.on_policy(act)
        return {"action": action}

    def quit(self) -> dict[str, Any]:
        self._context.parts.request_stop()
        return {"quitting": True}


def _settings(before: Any, changes: dict[str, Any]) -> OutputSettings:
    """The output's settings with changes laid over. Raises RpcError when one is out of range."""
    mode = Mode(before.mode_width, before.mode_height, before.refresh_mhz)
    current = {
        "name": before.name,
        "enabled": before.enabled,
        "mode": str(mode) if mode.width else "preferred",
        "scale": before.scale,
        "transform": before.transform,
        "position": [before.x, before.y] if before.width else None,
        "adaptive_sync": before.adaptive_sync,
    }
    if "position" in changes:
        changes = {**changes, "position": [round(value) for value in changes["position"]]}
    try:
        return convert({**current, **changes}, OutputSettings)
    except ValidationError as error:
        from minicomp.config.explain import explained
        from minicomp.config.overrides import Override

        given = [Override((name,), value, "output.set") for name, value in changes.items()]
        raise RpcError(INVALID_PARAMS, str(explained(str(error), changes, "", None, given, OutputSettings))) from None
