"""`minicomp msg METHOD [key=value...]`: one request, its answer as text or JSON; `subscribe` goes on until the end."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from minicomp.errors import ConfigError, ExitCode
from minicomp.msg.client import Client, Refusal, find_socket
from minicomp.msg.interface import EVENTS, METHODS, Method, Parameter, method
from minicomp.msg.text import as_text, event_line

REFUSED = 1

_EXIT_CODES = f"""\
exit codes:
  {ExitCode.OK}   done; of subscribe: the compositor has ended, or closed the connection
  {REFUSED}   the compositor answered with an error
  {ExitCode.USAGE}   usage error: nothing was sent
  {ExitCode.UNAVAILABLE}  no compositor answers
"""

_EXAMPLES = """\
examples:
  minicomp msg state
  minicomp msg windows --json
  minicomp msg screenshot path=screen.png
  minicomp msg input.click 100 50 && minicomp msg input.type text='hello'
  minicomp msg output.set output=HEADLESS-1 mode=800x600@75 scale=1.5
  minicomp msg pacing.set mode=fixed fixed_ms=4
  minicomp msg knob set knobs.render.class fifo
  minicomp msg subscribe events=window,frame.missed
"""


def main(arguments: Sequence[str]) -> int:
    """Runs `minicomp msg ARGUMENTS`; its exit code. Raises MinicompError."""
    options = _parser().parse_args(arguments)
    if options.params and method(f"{options.method}.{options.params[0]}") is not None:
        options.method += "." + options.params.pop(0)  # `msg knob set` is `msg knob.set`
    if options.method == "help":
        print(_method_help(_known(".".join(options.params))) if options.params else _listing())
        return ExitCode.OK
    params = _parse_params(options.method, options.params)
    if options.method == "screenshot" and params.get("path"):
        params["path"] = os.path.abspath(params["path"])  # the compositor has a working directory of its own
    try:
        with Client(find_socket(options.socket)) as client:
            answer = client.request(options.method, params)
            if options.method == "subscribe":
                return _stream(client, as_json=options.json)
    except Refusal as refusal:
        if options.json:
            print(json.dumps({"error": refusal.error}))
        said = str(refusal)  # some name the method themselves, for those who speak the protocol
        told = said if said.startswith(options.method) else f"{options.method}: {said}"
        print(f"minicomp: {told}", file=sys.stderr)
        return REFUSED
    print(
        json.dumps(answer, indent=2) if options.json else as_text(_for_people(answer)), end="\n" if options.json else ""
    )
    return ExitCode.OK


def _stream(client: Client, *, as_json: bool) -> int:
    for event in client.events():
        print(json.dumps(event) if as_json else event_line(event), flush=True)
    return ExitCode.OK


def _for_people(answer: Any) -> Any:
    """Pixels say nothing as text."""
    if isinstance(answer, dict) and "png" in answer:
        return {
            **answer,
            "png": f"{len(answer['png'])} characters of base64 (--json shows them, path=FILE writes a file)",
        }
    return answer


# ---- arguments ----


def _parse_params(name: str, arguments: Sequence[str]) -> dict[str, Any]:
    """`key=value`, or values in the parameters' order, by the types that the method declares. Raises ConfigError."""
    known = method(name)
    params: dict[str, Any] = {}
    for place, argument in enumerate(arguments):
        key, equals, text = argument.partition("=")
        if not equals or not key.isidentifier():  # a value may have an = in it
            if known is None or place >= len(known.parameters):
                raise ConfigError(f'"{argument}" is not of the form key=value', where=f"msg {name}", todo=_usage(known))
            key, text = known.parameters[place].name, argument
        parameter = next((found for found in known.parameters if found.name == key), None) if known else None
        if known is not None and parameter is None:
            raise ConfigError(f'there is no parameter "{key}"', where=f"msg {name}", todo=_usage(known))
        params[key] = _guess(text) if parameter is None else _convert(name, parameter, text)
    return params


def _convert(name: str, parameter: Parameter, text: str) -> Any:
    """What cannot be converted is an error here; whether it is in range, the compositor says."""
    try:
        if parameter.type == "string":
            return text
        if parameter.type == "strings":
            return [part for part in text.split(",") if part]
        if parameter.type == "boolean":
            return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}[text.lower()]
        if parameter.type == "integer":
            return int(text, 0)
        if parameter.type == "number":
            return float(text)
        if parameter.type == "pair":
            first, second = text.strip("[]").split(",")
            return [float(first), float(second)]
    except (ValueError, KeyError):
        expected = {"pair": "X,Y", "boolean": "true or false"}.get(parameter.type, f"a {parameter.type}")
        raise ConfigError(f'"{text}" is not {expected}', where=f"msg {name} {parameter.name}") from None
    return _guess(text)


def _guess(text: str) -> Any:
    """JSON if it is JSON, a value as `--set` takes it if it is that, else the text itself."""
    from tomllib import TOMLDecodeError, loads

    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return loads(f"value = {text}")["value"]
    except TOMLDecodeError:
        return text


# ---- help ----


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minicomp msg",
        usage="minicomp msg METHOD [KEY=VALUE...] [--socket PATH] [--json]",
        description="Look at a running compositor and act on it, over its control socket (docs/control.md).\n\n"
        + _listing(),
        epilog=f"{_EXAMPLES}\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("method", metavar="METHOD", help="one of the above; `help METHOD` says more about one")
    parser.add_argument(
        "params", nargs="*", metavar="KEY=VALUE", help="the method's parameters; in their order, without KEY= will do"
    )
    parser.add_argument(
        "--socket",
        metavar="PATH",
        default="",
        help="the control socket, or the Wayland socket's name; default: MINICOMP_SOCKET, that of WAYLAND_DISPLAY, "
        "the only one in XDG_RUNTIME_DIR",
    )
    parser.add_argument("--json", action="store_true", help="print what was answered as JSON; events as one line each")
    return parser


def _listing() -> str:
    width = max(len(found.name) for found in METHODS)
    methods = "\n".join(f"  {found.name:<{width}}  {found.text}" for found in METHODS)
    events = "\n".join(f"  {name:<{width}}  {text}" for name, text in EVENTS.items())
    return f"methods (minicomp msg help METHOD lists its parameters):\n{methods}\n\nevents of subscribe:\n{events}"


def _method_help(found: Method) -> str:
    lines = [f"{found.name}: {found.text}", f"  {_usage(found)}"]
    if found.spies:
        lines.append("  needs control.spy: it sees or types what belongs to other clients")
    for parameter in found.parameters:
        extra = f"; one of {', '.join(parameter.choices)}" if parameter.choices else ""
        if not parameter.required and parameter.default not in (None, "", ()):
            extra += f"; default {json.dumps(parameter.default)}"
        lines.append(f"  {parameter.name} ({parameter.type}): {parameter.text}{extra}")
    return "\n".join(lines)


def _known(name: str) -> Method:
    found = method(name)
    if found is None:
        raise ConfigError(f'there is no method "{name}"', where="msg help", todo="minicomp msg --help lists them")
    return found


def _usage(known: Method | None) -> str:
    if known is None:
        return "minicomp msg --help lists the methods"
    parameters = (f"{p.name}=..." if p.required else f"[{p.name}=...]" for p in known.parameters)
    return " ".join(["minicomp msg", known.name, *parameters])
