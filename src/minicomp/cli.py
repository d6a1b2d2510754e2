"""The command line: reads the arguments, puts the parts together, turns errors into exit codes.

The composition root: the one place that may import from every room, and does so inside the functions that need it, so
that `minicomp run` starts fast (no lab, no tables, no bindings before the configuration is known to be good; a test
lists what `run` may import). Commands with many options of their own (doctor, demo, trace, lab, top) bring their own
parsers.
"""

import argparse
import sys
from collections.abc import Callable, Sequence

from minicomp.errors import EXIT_CODE_HELP, ConfigError, ExitCode, MinicompError

TYPE_CHECKING = False
if TYPE_CHECKING:  # an import of typing for this alone would cost a millisecond of every start
    from minicomp.config import Config, Override, RunOptions

COMMANDS = {
    "run": "run the compositor, with or without a command inside it",
    "msg": "look at a running compositor and act on it: windows, outputs, screenshots, input, pacing, events",
    "demo": "run a client on the modelled display for some seconds and show where each frame's time went",
    "doctor": "check everything minicomp needs on this machine, and say what to do",
    "inspect": "show a process's file descriptors: dma-bufs, sockets, and which are one open file",
    "trace": "what every frame did, from a run file written with `run --trace`: summary, misses, one frame, export",
    "top": "watch a running compositor's frames, from the run file that it is writing",
    "lab": "experiments: run one, report it; probe the kernel; replay a run file under other frame schedulers",
    "config": "check a configuration file, or show the effective settings",
}

_EXAMPLES = """\
examples:
  minicomp demo                                    see what it does
  minicomp run -- foot                             a terminal, on the screen or headless, whichever there is
  minicomp run --backend headless -- pytest        run tests inside a compositor; exits with their exit code
  minicomp run --config configs/kiosk.toml -- APP  an application on a machine that does nothing else
  minicomp run --trace run.mct -- APP && minicomp trace summary run.mct
"""

_RUN_EXAMPLES = """\
examples:
  minicomp run --backend headless -- sh -c 'wayland-info; exit 7'      exits with 7
  minicomp run --backend headless --socket wayland-9 --ready-fd 3 3>ready   until it is stopped
  minicomp run --set 'headless.outputs=["800x600@60", "1920x1080@144"]' --set policy.name=stacking -- foot
  minicomp run --config configs/kiosk.toml --trace run.mct --stats -- APP

without -- COMMAND the configuration's app.command runs; when that is empty too, minicomp runs until SIGTERM or SIGINT.
"""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """A fixed width: asking for the terminal's imports shutil on every start, help or no help."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=100)


def exit_code_table() -> str:
    """The table of exit codes that --help prints."""
    return "\n".join(["exit codes:", *(f"  {code:<7}{meaning}" for code, meaning in EXIT_CODE_HELP)])


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `minicomp ARGV` and returns its exit code. A user's mistake is one line on stderr, never a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except MinicompError as error:
        print(f"minicomp: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.SIGNAL_BASE + 2
    except BrokenPipeError:  # `minicomp trace summary FILE | head`: the reader has seen enough
        sys.stderr.close()
        return ExitCode.SIGNAL_BASE + 13
    except Exception:
        import traceback

        traceback.print_exc()
        print("minicomp: internal error: this is a bug in minicomp; the lines above say where", file=sys.stderr)
        # With a command, 70 could be taken for the command's own code.
        return ExitCode.COMPOSITOR_FAILED if arguments[:1] == ["run"] and "--" in arguments else ExitCode.INTERNAL


def _dispatch(arguments: list[str]) -> int:
    commands: dict[str, Callable[[list[str]], int]] = {
        "run": _run,
        "msg": _msg,
        "demo": _demo,
        "doctor": _doctor,
        "inspect": _inspect,
        "trace": _trace,
        "top": _top,
        "lab": _lab,
        "config": _config,
    }
    if arguments and arguments[0] in commands:
        return commands[arguments[0]](arguments[1:])
    return _top_level(arguments)


def _top_level(arguments: list[str]) -> int:
    """Help, version, and what to say about an unknown command."""
    listing = "\n".join(f"  {name:<9}{text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="minicomp",
        usage="minicomp COMMAND [ARGS...]",
        description=(
            "A small Wayland compositor for three uses: one application on a kiosk's screen, clients under test\n"
            "without a screen, and finding out why a frame was late.\n\n"
            f"commands (minicomp COMMAND --help says more):\n{listing}"
        ),
        epilog=f"{_EXAMPLES}\n{exit_code_table()}",
        formatter_class=_HelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument("command", nargs="?", metavar="COMMAND", help=argparse.SUPPRESS)
    options, _ = parser.parse_known_args(arguments)
    if options.version:
        from minicomp import __version__

        print(f"minicomp {__version__}")
        return ExitCode.OK
    if options.command is None:
        if not arguments:
            parser.print_help()
            return ExitCode.USAGE
        raise ConfigError(f"unknown option {arguments[0]}", todo="minicomp --help")
    from difflib import get_close_matches

    close = get_close_matches(options.command, COMMANDS, n=1)
    todo = f'did you mean "minicomp {close[0]}"?' if close else f"commands are {', '.join(COMMANDS)}"
    todo += f"; to run a program: minicomp run -- {options.command}"
    raise ConfigError(f'unknown command "{options.command}"', todo=todo)


# --- run ----------------------------------------------------------------------------------------------------------


def parse_run(arguments: Sequence[str]) -> tuple["Config", list[str], "RunOptions"]:
    """The configuration, the command (empty: none) and the options that `minicomp run ARGUMENTS` asks for."""
    own, command = _split_command(arguments)
    parser = _run_parser()
    options, unexpected = parser.parse_known_args(own)
    if unexpected:
        program = " ".join(unexpected)
        hint = "" if program.startswith("-") else f"; to run a program: minicomp run [OPTIONS] -- {program}"
        parser.error(f"unexpected: {program}{hint}")

    from minicomp.config import RunOptions, load, parse_set

    overrides = [parse_set(argument) for argument in options.set]
    overrides += _named_overrides(options)
    config = load(options.config, overrides)
    _check_ready_fd(options.ready_fd)
    if not command:
        command = list(config.app.command)
    return config, command, RunOptions(ready_fd=options.ready_fd, stats=options.stats)


def _run(arguments: list[str]) -> int:
    config, command, options = parse_run(arguments)
    from minicomp import logs

    logs.set_up(config.log.level)
    from minicomp.compositor.run import run

    return run(config, command, options)


def _run_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="minicomp run",
        usage="minicomp run [OPTIONS] [-- COMMAND...]",
        description=(
            "Run the compositor. COMMAND gets WAYLAND_DISPLAY; minicomp ends when COMMAND itself ends, with its\n"
            "exit code, even if processes it left behind go on."
        ),
        epilog=f"{_RUN_EXAMPLES}\n{exit_code_table()}",
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
    )
    _add_config_options(parser)
    parser.add_argument(
        "--backend",
        choices=("auto", "drm", "headless", "nested"),
        help="what to draw to: a screen (drm), a modelled display (headless), a window on your desktop (nested); "
        "auto is drm where there are /dev/dri and a seat, headless otherwise (backend.kind)",
    )
    parser.add_argument(
        "--renderer", choices=("auto", "pixman", "gles2"), help="what composes the frames (backend.renderer)"
    )
    parser.add_argument(
        "--clock",
        choices=("real", "step"),
        help="step: the modelled display advances only when told, for repeatable tests (backend.clock)",
    )
    parser.add_argument("--socket", metavar="NAME", help="the Wayland socket's name; default: the first free wayland-N")
    parser.add_argument("--xwayland", action="store_true", help="also run X11 programs (backend.xwayland)")
    parser.add_argument(
        "--ready-fd",
        type=int,
        metavar="N",
        help="write the socket's name and a newline to file descriptor N when clients can connect and an output exists",
    )
    parser.add_argument("--trace", metavar="FILE", help="write what every frame did to FILE (trace.path)")
    parser.add_argument("--stats", action="store_true", help="print a summary of the frame pipeline at the end")
    return parser


def _split_command(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments before and after the first `--`."""
    if "--" not in arguments:
        return list(arguments), []
    index = list(arguments).index("--")
    own, command = list(arguments[:index]), list(arguments[index + 1 :])
    if not command:
        raise ConfigError("no COMMAND after --", where="run", todo="leave -- out to run without one")
    return own, command


def _add_config_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="settings in TOML; configs/ has commented examples")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="one setting in place of the file's, as often as needed; VALUE is TOML, strings need no quotes",
    )


def _named_overrides(options: argparse.Namespace) -> list["Override"]:
    """The options of `run` that stand for a setting. They count more than --set, which counts more than the file."""
    from minicomp.config import Override

    settings = {
        "backend": ("backend", "kind"),
        "renderer": ("backend", "renderer"),
        "clock": ("backend", "clock"),
        "socket": ("backend", "socket"),
        "trace": ("trace", "path"),
    }
    given = ((name, path, getattr(options, name)) for name, path in settings.items())
    overrides = [Override(path, value, f"--{name} {value}") for name, path, value in given if value is not None]
    if options.xwayland:
        overrides.append(Override(("backend", "xwayland"), True, "--xwayland"))
    return overrides


def _check_ready_fd(ready_fd: int | None) -> None:
    if ready_fd is None:
        return
    import os

    try:
        os.fstat(ready_fd)
    except (OSError, OverflowError):
        raise ConfigError(
            "is not an open file descriptor",
            where=f"--ready-fd {ready_fd}",
            todo=f"open it in the shell: minicomp run --ready-fd {ready_fd} {ready_fd}>FILE",
        ) from None


# --- the other commands -------------------------------------------------------------------------------------------


def _msg(arguments: list[str]) -> int:
    from minicomp.msg.command import main as msg

    return msg(arguments)


def _demo(arguments: list[str]) -> int:
    from minicomp import demo

    return demo.main(arguments)


def _doctor(arguments: list[str]) -> int:
    from minicomp.doctor.command import main as doctor

    return doctor(arguments)


def _inspect(arguments: list[str]) -> int:
    from minicomp.inspect.command import main as inspect

    return inspect(arguments)


def _trace(arguments: list[str]) -> int:
    from minicomp.lab.pipeline import commands

    parser = argparse.ArgumentParser(prog="minicomp trace", description="Summarise or export a run file.")
    commands.add_arguments(parser)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


def _top(arguments: list[str]) -> int:
    from minicomp.lab.top import command

    parser = argparse.ArgumentParser(prog="minicomp top")
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def _lab(arguments: list[str]) -> int:
    from importlib import import_module

    actions = {  # name: (module with add_arguments, help)
        "run": ("minicomp.lab.experiments.command", "run an experiment: the same scene under different settings"),
        "report": ("minicomp.lab.report.experiment_command", "say what came out of one, with tables and pictures"),
        "probe": ("minicomp.lab.probes.command", "which statements about the kernel hold on this machine"),
        "replay": ("minicomp.lab.replay.commands", "the same frames under other frame schedulers"),
        "restore": ("minicomp.lab.helper.command", "undo what a killed root helper has left changed (docs/knobs.md)"),
        "kernel-trace": ("minicomp.lab.kernel.commands", "record the kernel's side of a trace, as root"),
    }
    parser = argparse.ArgumentParser(prog="minicomp lab", description="Experiments.")
    parsers = parser.add_subparsers(dest="lab_command", required=True, metavar="ACTION")
    for name, (module, help_text) in actions.items():
        action = parsers.add_parser(name, help=help_text)
        if arguments[:1] == [name]:  # the others' imports cost, and may not be there
            import_module(module).add_arguments(action)
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


def _config(arguments: list[str]) -> int:
    from minicomp.config import load, parse_set

    parser = argparse.ArgumentParser(prog="minicomp config", description="Check or show the configuration.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="check|show")
    check = commands.add_parser("check", help="say whether FILE is a good configuration (exit code 2 when not)")
    check.add_argument("file", metavar="FILE")
    show = commands.add_parser("show", help="print every setting with its effective value")
    _add_config_options(show)
    show.add_argument("--json", action="store_true", help="as JSON instead of TOML")
    options = parser.parse_args(arguments)

    if options.command == "check":
        load(options.file)
        print(f"{options.file}: ok")
        return ExitCode.OK
    config = load(options.config, [parse_set(argument) for argument in options.set])
    if options.json:
        import json

        print(json.dumps(config.to_dict(), indent=2))
    else:
        from minicomp.config.show import as_toml

        print(as_toml(config), end="")
    return ExitCode.OK
