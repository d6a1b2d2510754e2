"""The control socket's language: JSON-RPC 2.0, parameters, pictures, and text for people. No compositor runs."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minicomp.compositor.control.jsonrpc import RpcError, Waiting, answer
from minicomp.compositor.control.methods import checked
from minicomp.compositor.control.picture import png, turn_upright
from minicomp.errors import ConfigError
from minicomp.msg import interface
from minicomp.msg.command import _parse_params
from minicomp.msg.interface import (
    ERROR_CODES,
    EVENTS,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    METHODS,
    PARSE_ERROR,
    TRANSFORMS,
    method,
)
from minicomp.msg.text import as_text, event_line

REPO = Path(__file__).parents[2]


def subtract(name: str, params: Any) -> Waiting:
    """The specification's example method; it takes its time."""
    yield 1.0
    if name != "subtract":
        raise RpcError(METHOD_NOT_FOUND, "no such method")
    return params[0] - params[1] if isinstance(params, list) else params["minuend"] - params["subtrahend"]


def finish(running: Generator[float, None, bytes | None]) -> Any:
    """Lets a request run to its end; its answer as JSON, or None."""
    while True:
        try:
            assert next(running) >= 0
        except StopIteration as stop:
            if stop.value is None:
                return None
            assert stop.value.endswith(b"\n") and stop.value.count(b"\n") == 1
            return json.loads(stop.value)


def ask(line: str | bytes) -> Any:
    return finish(answer(line.encode() if isinstance(line, str) else line, subtract))


def code_of(reply: Any) -> int:
    assert reply["jsonrpc"] == "2.0" and "result" not in reply and "id" in reply
    code: int = reply["error"]["code"]
    return code


# ---- https://www.jsonrpc.org/specification#examples ----


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (
            '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
            {"jsonrpc": "2.0", "result": 19, "id": 1},
        ),
        (
            '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": "x"}',
            {"jsonrpc": "2.0", "result": 19, "id": "x"},
        ),
        ('{"jsonrpc": "2.0", "method": "subtract", "params": [1, 2]}', None),
        ('{"jsonrpc": "2.0", "method": "foobar"}', None),
        (
            '[{"jsonrpc": "2.0", "method": "subtract", "params": [1, 2]}, {"jsonrpc": "2.0", "method": "foobar"}]',
            None,
        ),
    ],
)
def test_the_specifications_good_examples(line: str, reply: Any) -> None:
    assert ask(line) == reply


@pytest.mark.parametrize(
    ("line", "code", "request_id"),
    [
        ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', METHOD_NOT_FOUND, "1"),
        ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', PARSE_ERROR, None),
        ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', INVALID_REQUEST, None),
        ('{"jsonrpc": "2.0", "method": "subtract", "params": "bar", "id": 3}', INVALID_PARAMS, 3),
        ('{"jsonrpc": "1.0", "method": "subtract", "id": 3}', INVALID_REQUEST, 3),
        ('{"jsonrpc": "2.0", "method": "subtract", "id": {}}', INVALID_REQUEST, None),
        ('{"jsonrpc": "2.0", "method": "subtract", "id": true}', INVALID_REQUEST, None),
        ('{"jsonrpc": "2.0", "method": "subtract", "id": 1e999}', INVALID_REQUEST, None),
        ("[]", INVALID_REQUEST, None),
        ("7", INVALID_REQUEST, None),
        ("", PARSE_ERROR, None),
        ("NaN", PARSE_ERROR, None),
        ("[" * 100_000, PARSE_ERROR, None),
        ("1" * 10_000, PARSE_ERROR, None),
        (b"\xff\xfe{\x00}\x00", PARSE_ERROR, None),
        ("[" + ",".join(["1"] * 101) + "]", INVALID_REQUEST, None),
    ],
)
def test_what_is_wrong_gets_the_right_code(line: str | bytes, code: int, request_id: Any) -> None:
    reply = ask(line)
    assert code_of(reply) == code
    assert reply["id"] == request_id
    assert reply["error"]["message"]


def test_a_mixed_batch_answers_what_asks_for_it() -> None:
    reply = ask(
        '[{"jsonrpc": "2.0", "method": "subtract", "params": [1, 2], "id": 1}, {"jsonrpc": "2.0", "method": "foobar"},'
        ' {"foo": "boo"}, {"jsonrpc": "2.0", "method": "foobar", "id": "5"}, 1]'
    )
    assert [entry["id"] for entry in reply] == [1, None, "5", None]
    assert reply[0]["result"] == -1
    assert [code_of(entry) for entry in reply[1:]] == [INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_REQUEST]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_bytes_make_it_raise(line: bytes) -> None:
    reply = ask(line)
    assert reply is None or isinstance(reply, list) or code_of(reply) in ERROR_CODES


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "jsonrpc": st.just("2.0") | JSON_VALUES,
            "method": st.sampled_from([known.name for known in METHODS]) | JSON_VALUES,
            "params": JSON_VALUES,
            "id": JSON_VALUES,
        },
    )
)
def test_no_request_makes_it_raise(request: dict[str, Any]) -> None:
    def check_only(name: str, params: Any) -> Waiting:
        known = method(name)
        if known is None:
            raise RpcError(METHOD_NOT_FOUND, name)
        checked(known, params)
        return None
        yield 0.0

    reply = finish(answer(json.dumps(request).encode(), check_only))
    assert reply is None or reply["jsonrpc"] == "2.0"


# ---- parameters ----


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("input.move", {}, "input.move needs the parameter x: layout coordinates"),
        ("input.move", {"x": 1}, "needs the parameter y"),
        ("input.move", {"x": 1, "y": 2, "z": 3}, 'has no parameter "z"'),
        ("input.move", [1, 2, 3], "at most 2 parameters"),
        ("input.move", {"x": True, "y": 1}, "x must be a number"),
        ("input.move", {"x": 1e300, "y": 1}, "x must be a number of at most"),
        ("input.move", {"x": 10**400, "y": 1}, "x must be a number of at most"),
        ("input.type", {"text": "a\0b"}, "text must be a string without NUL"),
        ("input.type", {"text": "\ud800"}, "text must be a string"),
        ("input.click", {"x": 1, "y": 1, "button": "BTN_NONE"}, "must be one of BTN_LEFT, "),
        ("input.click", {"x": 1, "y": 1, "times": 1.5}, "times must be an integer"),
        ("input.drag", {"from": [1], "to": [1, 2]}, "from must be two numbers"),
        ("subscribe", {"events": "window"}, "events must be a list of strings"),
        ("window.fullscreen", {"window": "0x1", "on": 1}, "on must be true or false"),
        ("clock.advance", {"ns": 2**60}, "ns must be an integer"),
    ],
)
def test_a_wrong_parameter_is_named(name: str, params: Any, message: str) -> None:
    known = method(name)
    assert known is not None
    with pytest.raises(RpcError) as caught:
        checked(known, params)
    assert caught.value.code == INVALID_PARAMS
    assert message in caught.value.message


def test_parameters_by_place_and_defaults() -> None:
    click, drag = method("input.click"), method("input.drag")
    assert click and drag
    assert checked(click, [3, 4.5]) == {"x": 3, "y": 4.5, "button": "BTN_LEFT", "times": 1}
    assert checked(drag, {"from": [0, 0], "to": [1, 1]})["from_"] == [0, 0]


def test_command_line_values_have_the_parameters_types() -> None:
    assert _parse_params("input.type", ["text=123"]) == {"text": "123"}
    assert _parse_params("input.click", ["x=1.5", "y=-2", "times=0x2"]) == {"x": 1.5, "y": -2.0, "times": 2}
    assert _parse_params("output.set", ["output=A", "enabled=off", "position=10,-20"]) == {
        "output": "A",
        "enabled": False,
        "position": [10.0, -20.0],
    }
    assert _parse_params("subscribe", ["events=window,output.new"]) == {"events": ["window", "output.new"]}
    assert _parse_params("knob.set", ["name=n", "value=5"]) == {"name": "n", "value": 5}
    assert _parse_params("knob.set", ["name=n", "value=fifo"]) == {"name": "n", "value": "fifo"}
    assert _parse_params("knob.set", ["n", '{"64" = "always"}']) == {"name": "n", "value": {"64": "always"}}
    assert _parse_params("knob.set", ["n", 'value={class = "rr"}']) == {"name": "n", "value": {"class": "rr"}}
    assert _parse_params("knob.set", ["n", "0,2-3"]) == {"name": "n", "value": "0,2-3"}
    assert _parse_params("input.move", ["3", "y=4"]) == {"x": 3.0, "y": 4.0}
    for arguments, message in (
        (["1", "2", "3"], "not of the form key=value"),
        (["z=1"], 'there is no parameter "z"'),
        (["x=a"], '"a" is not a number'),
    ):
        with pytest.raises(ConfigError, match=message):
            _parse_params("input.move", arguments)


# ---- pictures ----

COLOURS = [0x110000, 0x002200, 0x000033, 0x444400, 0x005555, 0x660066]


def turned_by_the_display(upright: Image.Image, transform: str) -> Image.Image:
    """What the frame buffer of a screen with that transform holds, by Pillow: wl_output.transform mirrors first, then
    turns counter-clockwise what the client sees upright."""
    image = upright
    if transform.startswith("flipped"):
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    degrees = {"90": 90, "180": 180, "270": 270}.get(transform.rpartition("-")[2], 0)
    return image.rotate(degrees, expand=True)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_pictures_are_turned_upright(transform: str) -> None:
    upright = Image.new("RGB", (3, 2))
    upright.putdata([(c >> 16, c >> 8 & 255, c & 255) for c in COLOURS])
    buffer = turned_by_the_display(upright, transform)
    width, height, pixels = turn_upright(*buffer.size, buffer.convert("RGBX").tobytes("raw", "BGRX"), transform)
    assert (width, height) == (3, 2)
    made = Image.open(io.BytesIO(png(width, height, pixels)))
    assert made.mode == "RGB" and made.tobytes() == upright.tobytes()


# ---- text ----


def test_tables_leave_out_what_says_nothing() -> None:
    text = as_text([{"id": "0x1", "title": "", "width": 10, "shown": True}, {"id": "0x22", "title": "", "width": 0}])
    assert text == "id    width  shown\n0x1      10    yes\n0x22      0      -\n"


def test_objects_and_hostile_titles() -> None:
    assert as_text({"a": 1.5, "bb": "x\n\x1b[31m", "rows": [{"c": 1}]}) == "a   1.5\nbb  x??[31m\n\nrows:\n  c\n  1\n"
    assert as_text([]) == "none\n" and as_text({}) == ""
    # A refusal is readable to its end, and so is that nothing took effect.
    refusal = {"name": "n" * 60, "took_effect": False, "note": "why " * 30}
    assert as_text([refusal]).splitlines()[1] == f"{'n' * 47}…           no  {'why ' * 30}".rstrip()


def test_an_event_is_one_line() -> None:
    event = {
        "event": "window.map",
        "time_ns": 0,
        "window": {"id": "0x1", "title": "a\nb", "app_id": "", "x": 1, "y": 2, "width": 3, "height": 4},
    }
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} window.map     id 0x1  title a\?b  at 1,2 3x4", event_line(event))


# ---- the reference ----


def test_every_method_event_and_error_is_in_the_reference() -> None:
    text = (REPO / "docs/control.md").read_text()
    documented = set(re.findall(r"^\| `([a-z_.]+)`", text, re.M))
    assert documented == {known.name for known in METHODS} | set(EVENTS)
    for known in METHODS:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{known.name}` |"))
        for parameter in known.parameters:
            assert f"`{parameter.name}`" in row, f"{known.name}: {parameter.name}"
    for code in ERROR_CODES:
        assert f"| {code} |" in text
    assert interface.PROTOCOL_VERSION == 1
