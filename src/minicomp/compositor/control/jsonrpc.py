"""JSON-RPC 2.0 (https://www.jsonrpc.org/specification) without any input or output: a line in, a line out.

`answer` is a generator, because a request may have to wait (for the policy thread, for a frame): it yields how many
milliseconds it can do without being looked at, and returns the answer, or None when there is nothing to answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator
from typing import Any

from minicomp.msg.interface import INVALID_PARAMS, INVALID_REQUEST, MAX_BATCH, PARSE_ERROR

Waiting = Generator[float, None, Any]
"""A call that is under way: yields milliseconds, returns its result, raises RpcError."""
Invoke = Callable[[str, Any], Waiting]

MAX_BATCH_ANSWER_BYTES = 64 << 20


class RpcError(Exception):
    """Becomes the error object of an answer. `data` is anything JSON, or None."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


def answer(line: bytes, invoke: Invoke) -> Generator[float, None, bytes | None]:
    """One line: a request, a notification, or a batch of them. `invoke` runs a method; it only raises RpcError."""
    try:
        message = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        return error_line(None, RpcError(PARSE_ERROR, f"not JSON: {reason}"))
    if not isinstance(message, list):
        return (yield from _answer_one(message, invoke))
    if not message:
        return error_line(None, RpcError(INVALID_REQUEST, "an empty batch"))
    if len(message) > MAX_BATCH:
        return error_line(None, RpcError(INVALID_REQUEST, f"{len(message)} requests in a batch; at most {MAX_BATCH}"))
    answers: list[bytes] = []
    size = 0
    for request in message:
        one = yield from _answer_one(request, invoke)
        if one is None:
            continue
        size += len(one)
        if size > MAX_BATCH_ANSWER_BYTES:
            one = error_line(_id_of(request), RpcError(INVALID_REQUEST, "the batch's answer would be too long"))
        answers.append(one.rstrip(b"\n"))
    return b"[" + b",".join(answers) + b"]\n" if answers else None


def notification(method: str, params: dict[str, Any]) -> bytes:
    """A line that asks for no answer."""
    return _line({"jsonrpc": "2.0", "method": method, "params": params})


def error_line(request_id: Any, error: RpcError) -> bytes:
    content: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        content["data"] = error.data
    return _line({"jsonrpc": "2.0", "error": content, "id": request_id})


def _answer_one(request: Any, invoke: Invoke) -> Generator[float, None, bytes | None]:
    wrong = _what_is_wrong(request)
    if wrong:
        return error_line(_id_of(request), RpcError(INVALID_REQUEST, wrong))
    wants_answer = "id" in request
    params = request.get("params", {})
    try:
        if not isinstance(params, dict | list):
            raise RpcError(INVALID_PARAMS, "params must be an object or an array")
        result = yield from invoke(request["method"], params)
    except RpcError as error:
        return error_line(request["id"], error) if wants_answer else None
    return _line({"jsonrpc": "2.0", "result": result, "id": request["id"]}) if wants_answer else None


def _what_is_wrong(request: Any) -> str:
    if not isinstance(request, dict):
        return "a request is an object"
    if request.get("jsonrpc") != "2.0":
        return 'no "jsonrpc": "2.0"'
    if not isinstance(request.get("method"), str):
        return "no method"
    if not _is_id(request.get("id")):
        return "an id is a string or a number"
    return ""


def _id_of(request: Any) -> Any:
    """The id to answer a request that may be invalid."""
    found = request.get("id") if isinstance(request, dict) else None
    return found if _is_id(found) else None


def _is_id(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)  # 1e999 is read as infinity, which no answer could say
    return value is None or (isinstance(value, str | int) and not isinstance(value, bool))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode("ascii") + b"\n"
