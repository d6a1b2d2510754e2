"""From a request's method and params to the function that does it.

Functions are found by the method's name: `Looking.windows` for `windows`, `Acting.window_close` for `window.close`.
They get checked parameters as keyword arguments ("from" becomes `from_`), and return a JSON value, or a generator when
they have to wait (jsonrpc.Waiting).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Generator, Iterable
from difflib import get_close_matches
from typing import Any

from minicomp.compositor.control.jsonrpc import RpcError, Waiting
from minicomp.errors import MinicompError
from minicomp.msg import interface
from minicomp.msg.interface import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    NOT_PERMITTED,
    REFUSED,
    Method,
    Parameter,
)

log = logging.getLogger("minicomp.control")

LARGEST_INTEGER = 2**53  # what JSON's numbers carry everywhere (RFC 8259, section 6)
LARGEST_NUMBER = 1e6


class Methods:
    """All methods, bound to the objects that implement them. Raises LookupError when one is missing."""

    def __init__(self, owners: Iterable[object], *, may_spy: bool) -> None:
        self._may_spy = may_spy
        self._functions: dict[str, Callable[..., Any]] = {}
        found = {name: getattr(owner, name) for owner in owners for name in dir(owner) if not name.startswith("_")}
        for method in interface.METHODS:
            self._functions[method.name] = found[method.name.replace(".", "_")]

    def invoke(self, name: str, params: dict[str, Any] | list[Any], **more: Any) -> Waiting:
        """Runs a method; raises RpcError, whatever happens in it. `more` goes to the functions that belong to one
        connection (their parameters are called the same)."""
        method = interface.method(name)
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f'there is no method "{name}"', _did_you_mean(name))
        if method.spies and not self._may_spy:
            raise RpcError(
                NOT_PERMITTED,
                f"{name} sees or types what belongs to other clients, which is not permitted here",
                {"todo": 'control.spy = "yes" permits it to every process of this user'},
            )
        arguments = checked(method, params)
        function = self._functions[name]
        if name in ("subscribe", "unsubscribe"):
            arguments.update(more)
        try:
            result = function(**arguments)
            if isinstance(result, Generator):
                result = yield from result
        except RpcError:
            raise
        except MinicompError as error:
            raise RpcError(REFUSED, str(error), {"todo": error.todo} if error.todo else None) from None
        except Exception:
            log.exception("the method %s failed", name)
            raise RpcError(INTERNAL_ERROR, "internal error: this is a bug in minicomp; its log says where") from None
        return result


def checked(method: Method, params: dict[str, Any] | list[Any]) -> dict[str, Any]:
    """The parameters by name, defaults filled in. Raises RpcError for what is missing, unknown or wrong."""
    if isinstance(params, list):
        if len(params) > len(method.parameters):
            raise RpcError(INVALID_PARAMS, f"{method.name} takes at most {len(method.parameters)} parameters")
        params = {parameter.name: value for parameter, value in zip(method.parameters, params, strict=False)}
    known = {parameter.name for parameter in method.parameters}
    for name in params:
        if name not in known:
            listing = ", ".join(parameter.name for parameter in method.parameters) or "none"
            raise RpcError(INVALID_PARAMS, f'{method.name} has no parameter "{name}"', {"parameters": listing})
    arguments = {}
    for parameter in method.parameters:
        if parameter.name in params:
            value = _check(method, parameter, params[parameter.name])
        elif parameter.required:
            raise RpcError(INVALID_PARAMS, f"{method.name} needs the parameter {parameter.name}: {parameter.text}")
        else:
            value = parameter.default
        arguments["from_" if parameter.name == "from" else parameter.name] = value
    return arguments


def _check(method: Method, parameter: Parameter, value: Any) -> Any:
    if value is None and not parameter.required and parameter.default is None:
        return None
    if not _TYPES[parameter.type](value):
        expected = _TYPE_NAMES[parameter.type]
        raise RpcError(INVALID_PARAMS, f"{method.name}: {parameter.name} must be {expected} ({parameter.text})")
    if parameter.choices and value not in parameter.choices:
        raise RpcError(INVALID_PARAMS, f"{method.name}: {parameter.name} must be one of {', '.join(parameter.choices)}")
    return value


def _is_text(value: Any) -> bool:
    """Native code gets it as UTF-8 that ends with a NUL."""
    return isinstance(value, str) and "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_INTEGER


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) <= LARGEST_NUMBER if isinstance(value, float) else abs(value) <= 10**6


_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": _is_text,
    "integer": _is_integer,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "pair": lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)),
    "strings": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "any": lambda value: True,
}
_TYPE_NAMES = {
    "string": "a string without NUL",
    "integer": "an integer",
    "number": f"a number of at most {LARGEST_NUMBER:g}",
    "boolean": "true or false",
    "pair": "two numbers [x, y]",
    "strings": "a list of strings",
}


def _did_you_mean(name: str) -> dict[str, str]:
    close = get_close_matches(name, [method.name for method in interface.METHODS], n=1)
    return {"todo": f"did you mean {close[0]}?" if close else "the method `methods` lists them"}
