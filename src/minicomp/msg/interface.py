"""What the control socket offers: methods with their parameters, events, error codes, limits.

Data only. The server checks requests against it, `minicomp msg --help` and the method `methods` print it, and a test
holds docs/control.md to it. Names are `thing.verb`; a bare noun looks and changes nothing.
"""

from typing import Any, NamedTuple

PROTOCOL_VERSION = 1

MAX_LINE_BYTES = 1 << 20  # of a request
MAX_BATCH = 100  # requests in one array
MAX_CONNECTIONS = 32
MAX_TYPED_CHARACTERS = 10_000
STALLED_AFTER_S = 10.0  # a client that takes nothing of what it is sent for so long is dropped
MAX_UNREAD_EVENT_BYTES = 1 << 20  # so is a subscriber that is this far behind

REQUIRED = "required"
"""The default of a parameter that has none."""

# https://www.jsonrpc.org/specification#error_object, and our own in the range it leaves to servers.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
REFUSED = -32000
NOT_FOUND = -32001
TIMED_OUT = -32002
NOT_PERMITTED = -32003
NOT_AVAILABLE = -32004

ERROR_CODES: dict[int, str] = {
    PARSE_ERROR: "the line is not JSON",
    INVALID_REQUEST: "it is JSON, but no JSON-RPC 2.0 request; or the line is too long",
    METHOD_NOT_FOUND: "there is no such method",
    INVALID_PARAMS: "a parameter is missing, unknown, or of the wrong type or range",
    INTERNAL_ERROR: "a bug in minicomp or in the policy; its log says more",
    REFUSED: "the display, the policy or the kernel said no",
    NOT_FOUND: "there is no such window, output or client (any more)",
    TIMED_OUT: "the policy, or a frame, did not come in time",
    NOT_PERMITTED: "the configuration does not permit it (control.spy)",
    NOT_AVAILABLE: "not with this backend, clock or build",
}


class Parameter(NamedTuple):
    """`type` is string, integer, number, boolean, pair (of numbers), strings (a list) or any (JSON value)."""

    name: str
    type: str
    text: str
    default: Any = REQUIRED
    choices: tuple[str, ...] = ()

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


class Method(NamedTuple):
    """`spies`: needs control.spy, since it sees or types what belongs to other clients."""

    name: str
    text: str
    parameters: tuple[Parameter, ...] = ()
    spies: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As the method `methods` answers it."""
        parameters = []
        for parameter in self.parameters:
            entry: dict[str, Any] = {"name": parameter.name, "type": parameter.type, "text": parameter.text}
            if parameter.required:
                entry["required"] = True
            else:
                entry["default"] = parameter.default
            if parameter.choices:
                entry["choices"] = list(parameter.choices)
            parameters.append(entry)
        return {"name": self.name, "text": self.text, "parameters": parameters, "spies": self.spies}


TRANSFORMS = ("normal", "90", "180", "270", "flipped", "flipped-90", "flipped-180", "flipped-270")
PACING_MODES = ("asap", "fixed", "adaptive")
LOG_LEVELS = ("debug", "info", "warning", "error")
BUTTON_NAMES = ("BTN_LEFT", "BTN_RIGHT", "BTN_MIDDLE", "BTN_SIDE", "BTN_EXTRA")

_WINDOW = Parameter("window", "string", 'an id of `windows`, "focused", or the app_id of exactly one window')
_OUTPUT = Parameter("output", "string", "its name, for example HEADLESS-1")
_ON = Parameter("on", "boolean", "false takes it back", True)
_X = Parameter("x", "number", "layout coordinates")
_Y = Parameter("y", "number", "layout coordinates")
_FINGER = Parameter("id", "integer", "which finger", 0)
_BUTTON = Parameter("button", "string", "which button", "BTN_LEFT", BUTTON_NAMES)
_STEPS = Parameter("steps", "integer", "how many motions on the way, 1 to 1000", 10)
_FROM = Parameter("from", "pair", "[x, y], layout coordinates")
_TO = Parameter("to", "pair", "[x, y], layout coordinates")


def _window_state(name: str, text: str) -> Method:
    return Method(name, text, (_WINDOW, _ON))


METHODS: tuple[Method, ...] = (
    # ---- looking ----
    Method("methods", "every method with its parameters"),
    Method("version", "what runs here: version, backend, renderer, policy, pid"),
    Method("state", "everything below in one answer"),
    Method("outputs", "the displays: mode, scale, transform, place, the area that panels leave"),
    Method("windows", "the windows, oldest first: title, app_id, geometry, states"),
    Method("clients", "the connected clients: pid, program, surfaces, how often it was muted, privileged protocols"),
    Method("devices", "the input devices"),
    Method("stats", "per output: frames, misses, cost and latency; lock waits; how far the policy lags behind"),
    Method("pacing", "per output: mode, predicted margin and what it is made of"),
    Method("config", "every setting with its effective value"),
    Method(
        "screenshot",
        "a PNG of the next composed frame, upright; base64 in the answer unless a path is given",
        (
            _OUTPUT._replace(text="its name; the first one that is on", default=""),
            Parameter("path", "string", "an absolute path that the compositor writes the file to", ""),
        ),
        spies=True,
    ),
    # ---- displays ----
    Method(
        "output.set",
        "changes what is given, leaves the rest",
        (
            _OUTPUT,
            Parameter("enabled", "boolean", "on or off", None),
            Parameter("mode", "string", '"1920x1080@60", "1920x1080", "preferred" or "highest-refresh"', None),
            Parameter("scale", "number", "above 0, at most 16", None),
            Parameter("transform", "string", "how the picture is turned", None, TRANSFORMS),
            Parameter("position", "pair", "[x, y], layout coordinates", None),
            Parameter("adaptive_sync", "boolean", "variable refresh, where there is such a thing", None),
        ),
    ),
    Method(
        "output.plug",
        "headless: connects a modelled monitor",
        (
            Parameter("mode", "string", '"1280x720@60"', "1280x720@60"),
            Parameter("connector", "integer", "2 is HEADLESS-2; 0 the first free one", 0),
        ),
    ),
    Method("output.unplug", "headless: disconnects a modelled monitor", (_OUTPUT,)),
    Method(
        "output.fault",
        "headless: the next flips are shown late, or refused",
        (
            _OUTPUT,
            Parameter("vblanks", "integer", "how many vblanks late; 0: refused"),
            Parameter("count", "integer", "how many flips", 1),
        ),
    ),
    # ---- windows: the policy is asked as if a taskbar or the window had asked, and may refuse ----
    Method("window.focus", "brings it up and gives it the keyboard", (_WINDOW,)),
    Method("window.close", "asks it to close", (_WINDOW,)),
    _window_state("window.fullscreen", "full screen, or not any more"),
    _window_state("window.maximize", "maximized, or not any more"),
    _window_state("window.minimize", "minimized, or not any more"),
    Method(
        "window.place",
        "moves and resizes it; what is left out stays",
        (
            _WINDOW,
            Parameter("x", "integer", "layout coordinates", None),
            Parameter("y", "integer", "layout coordinates", None),
            Parameter("width", "integer", "layout units", None),
            Parameter("height", "integer", "layout units", None),
        ),
    ),
    Method("window.kill", "disconnects its client at once", (_WINDOW,)),
    Method("client.kill", "disconnects a client at once", (Parameter("client", "string", "an id of `clients`"),)),
    Method(
        "action",
        "what a key binding of the policy does",
        (Parameter("action", "string", 'for example "focus-next", "quit", "spawn:foot"'),),
    ),
    # ---- input, by the same way as a real device's ----
    Method(
        "input.press",
        "presses and releases a combination",
        (Parameter("keys", "string", 'for example "Ctrl+Alt+t" or "Super+BTN_LEFT"'),),
        spies=True,
    ),
    Method(
        "input.type",
        "types text with the first layout of the keymap; a newline is Return",
        (Parameter("text", "string", f"at most {MAX_TYPED_CHARACTERS} characters"),),
        spies=True,
    ),
    Method(
        "input.key",
        "presses or releases one key, and leaves it so",
        (
            Parameter("code", "integer", "as in linux/input-event-codes.h; 30 is KEY_A"),
            Parameter("pressed", "boolean", "or released"),
        ),
        spies=True,
    ),
    Method("input.move", "moves the pointer there", (_X, _Y), spies=True),
    Method(
        "input.move_by",
        "moves the pointer as a mouse does",
        (Parameter("dx", "number", "layout units"), Parameter("dy", "number", "layout units")),
        spies=True,
    ),
    Method(
        "input.button",
        "presses or releases a button, and leaves it so",
        (_BUTTON, Parameter("pressed", "boolean", "or released")),
        spies=True,
    ),
    Method(
        "input.click",
        "moves there and clicks",
        (_X, _Y, _BUTTON, Parameter("times", "integer", "2: a double click", 1)),
        spies=True,
    ),
    Method("input.drag", "holds the left button from one place to another", (_FROM, _TO, _STEPS), spies=True),
    Method(
        "input.scroll",
        "turns the wheel",
        (
            Parameter("clicks", "integer", "down or right; negative: up or left"),
            Parameter("horizontal", "boolean", "sideways", False),
        ),
        spies=True,
    ),
    Method("input.tap", "touches with a finger and lifts it", (_X, _Y, _FINGER), spies=True),
    Method("input.swipe", "drags a finger", (_FROM, _TO, _STEPS, _FINGER), spies=True),
    Method("input.touch_down", "puts a finger down, and leaves it there", (_X, _Y, _FINGER), spies=True),
    Method("input.touch_move", "moves a finger that is down", (_X, _Y, _FINGER), spies=True),
    Method("input.touch_up", "lifts a finger", (_FINGER,), spies=True),
    Method("input.touch_cancel", "the device takes the finger back", (_FINGER,), spies=True),
    # ---- the frame pipeline and the machine ----
    Method(
        "pacing.set",
        "when composing begins, from now on; what is left out stays",
        (
            Parameter("mode", "string", "as pacing.mode", None, PACING_MODES),
            Parameter("fixed_ms", "number", "mode fixed: milliseconds before the vblank, 0 to 1000", None),
            Parameter("target_miss_rate", "number", "mode adaptive: above 0, below 1", None),
        ),
    ),
    Method("knobs", "what was asked of the kernel and what took effect (docs/knobs.md)"),
    Method(
        "knob.set",
        "changes one knob while it runs",
        (
            Parameter("name", "string", 'for example "knobs.render.class"'),
            Parameter("value", "any", "as in the configuration; null leaves it to the kernel again"),
        ),
    ),
    Method("clock.advance", "step clock: moves time on", (Parameter("ns", "integer", "nanoseconds"),)),
    Method(
        "clock.vblank", "step clock: moves time to a display's next vblank", (_OUTPUT._replace(default="HEADLESS-1"),)
    ),
    Method(
        "log.level", "what is logged from now on", (Parameter("level", "string", "as log.level", REQUIRED, LOG_LEVELS),)
    ),
    # ---- events, and the end ----
    Method(
        "subscribe",
        'sends events as notifications {"method": "event", "params": {"event": NAME, ...}}',
        (Parameter("events", "strings", 'names, or groups such as "window"; none: all', ()),),
    ),
    Method("unsubscribe", "no more events"),
    Method("quit", "ends the compositor, clients first, as SIGTERM does, with exit code 0"),
)

EVENTS: dict[str, str] = {
    "window.new": "a client wants a window",
    "window.map": "it has content",
    "window.unmap": "its content is gone",
    "window.gone": "it is dead",
    "window.title": "its title changed",
    "window.app_id": "its app_id changed",
    "window.size": "the client committed another size",
    "window.focus": "another window, or none, has the keyboard",
    "output.new": "a display was plugged in",
    "output.gone": "a display was unplugged",
    "output.changed": "its mode, scale, transform, place or power",
    "client.new": "a client connected",
    "client.gone": "a client disconnected",
    "layer.map": "a panel, lock screen or keyboard appeared",
    "layer.unmap": "it disappeared",
    "frame.missed": "frames missed their vblank by the compositor's fault, counted every 100 ms",
    "binding": "a key binding was used",
    "idle": "no input for as long as idle.output_off_after_s",
    "resumed": "input again",
    "policy.stuck": "policy code has not returned for a second",
    "policy.back": "it has returned",
    "lost": "events were lost because the policy was away: read the state anew",
}


def method(name: str) -> Method | None:
    """None when there is no such method."""
    return next((found for found in METHODS if found.name == name), None)
