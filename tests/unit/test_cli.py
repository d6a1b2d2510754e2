"""The command line: how arguments become a configuration, what is said about mistakes, and which exit codes follow."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from minicomp import cli, logs
from minicomp.errors import EXIT_CODE_HELP, ConfigError, ExitCode, MinicompError, exit_code_of_child


def run_minicomp(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "minicomp", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def test_run_options_become_settings() -> None:
    line = (
        "--backend headless --renderer pixman --clock step --socket s --trace t.mct --xwayland --stats --ready-fd 2 "
        "--set cursor.size=30 -- app --stats -- x"
    )
    config, command, options = cli.parse_run(line.split())
    assert (config.backend.kind, config.backend.renderer, config.backend.clock) == ("headless", "pixman", "step")
    assert (config.backend.socket, config.trace.path, config.backend.xwayland) == ("s", "t.mct", True)
    assert config.cursor.size == 30
    assert command == ["app", "--stats", "--", "x"]
    assert (options.stats, options.ready_fd) == (True, 2)


def test_a_named_option_counts_more_than_set_and_set_more_than_the_file(tmp_path: Path) -> None:
    file = tmp_path / "test.toml"
    file.write_text('[backend]\nkind = "drm"\nrenderer = "gles2"\nclock = "step"\n[app]\ncommand = ["from-file"]\n')
    config, command, _ = cli.parse_run(
        ["--config", str(file), "--backend", "headless", "--set", "backend.kind=nested", "--set", "backend.clock=real"]
    )
    assert (config.backend.kind, config.backend.clock, config.backend.renderer) == ("headless", "real", "gles2")
    assert command == ["from-file"]
    assert cli.parse_run(["--config", str(file), "--", "given"])[1] == ["given"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rnu"], 'unknown command "rnu" (did you mean "minicomp run"?; to run a program: minicomp run -- rnu)'),
        (["--frobnicate"], "unknown option --frobnicate"),
        (["run", "foot", "-e"], "unexpected: foot -e; to run a program: minicomp run [OPTIONS] -- foot -e"),
        (["run", "--back", "drm"], "unexpected: --back drm"),
        (["run", "--"], "run: no COMMAND after --"),
        (["run", "--ready-fd", "99"], "--ready-fd 99: is not an open file descriptor"),
        (["run", "--ready-fd", "99999999999999999999"], "is not an open file descriptor"),
        (["run", "--socket", "a/b"], '--socket a/b: backend.socket: "a/b" is not allowed'),
        (["run", "--config", "/nonexistent.toml"], "/nonexistent.toml: cannot read the configuration"),
        (["run", "--set", "backend.kind=x", "--", "true"], "--set backend.kind=x: backend.kind: "),
        (["config", "show", "--set", "nope=1"], "--set nope=1: nope: unknown section"),
    ],
)
def test_a_usage_mistake_exits_2_with_its_reason_and_no_traceback(arguments: list[str], expected: str) -> None:
    result = run_minicomp(*arguments)
    assert result.returncode == ExitCode.USAGE
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_help_teaches_examples_and_exit_codes() -> None:
    for arguments in (["--help"], ["run", "--help"]):
        result = run_minicomp(*arguments)
        assert result.returncode == 0
        assert "examples:" in result.stdout
        for code, meaning in EXIT_CODE_HELP:
            assert code in result.stdout
            assert meaning in result.stdout
    assert run_minicomp().returncode == ExitCode.USAGE


def test_version_is_the_installed_packages() -> None:
    assert run_minicomp("--version").stdout == f"minicomp {version('minicomp')}\n"


def test_config_check_and_show(tmp_path: Path) -> None:
    good = tmp_path / "good.toml"
    good.write_text('[[output]]\nname = "X"\nposition = [1, -2]\n[policy]\noptions = { "a b" = [1, { c = "d" }] }\n')
    assert run_minicomp("config", "check", str(good)).stdout == f"{good}: ok\n"
    shown = run_minicomp("config", "show", "--config", str(good), "--set", "cursor.size=7").stdout
    as_json = run_minicomp("config", "show", "--config", str(good), "--set", "cursor.size=7", "--json").stdout
    assert tomllib.loads(shown)["cursor"]["size"] == 7
    from_toml, from_json = tomllib.loads(shown), json.loads(as_json)
    assert from_json["output"][0].pop("position") == from_toml["output"][0].pop("position") == [1, -2]
    assert from_toml["policy"]["options"] == {"a b": [1, {"c": "d"}]}
    for empty_list in ("binding", "input"):
        assert from_json.pop(empty_list) == []
    del from_json["knobs"]["strict"], from_json["knobs"]["drop_privileges"]
    from_json["knobs"] = {
        name: {key: value for key, value in table.items() if value is not None}  # TOML has no null
        for name, table in from_json["knobs"].items()
    }
    assert from_toml == from_json

    bad = tmp_path / "bad.toml"
    bad.write_text("\n[x]\n")
    result = run_minicomp("config", "check", str(bad))
    assert result.returncode == ExitCode.USAGE
    assert result.stderr.startswith(f"minicomp: {bad}:2: x: unknown section")


def test_errors_become_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def raising(error: BaseException) -> None:
        def command(arguments: list[str]) -> int:
            raise error

        monkeypatch.setattr(cli, "_run", command)

    raising(MinicompError("the DRM device is gone", where="/dev/dri/card0", exit_code=ExitCode.DEVICE_LOST))
    assert cli.main(["run"]) == ExitCode.DEVICE_LOST
    assert capsys.readouterr().err == "minicomp: /dev/dri/card0: the DRM device is gone\n"

    raising(MinicompError("broken"))
    assert cli.main(["run"]) == ExitCode.COMPOSITOR_FAILED

    raising(ZeroDivisionError("a bug"))
    assert cli.main(["run"]) == ExitCode.INTERNAL
    assert "ZeroDivisionError: a bug" in capsys.readouterr().err
    assert cli.main(["run", "--", "app"]) == ExitCode.COMPOSITOR_FAILED

    raising(KeyboardInterrupt())
    assert cli.main(["run"]) == 128 + signal.SIGINT


def test_the_exit_code_of_a_child_is_its_own_or_128_plus_the_signal() -> None:
    for script, expected in (("exit 7", 7), ("kill -TERM $$", 128 + signal.SIGTERM), ("kill -KILL $$", 137)):
        child = subprocess.Popen(["sh", "-c", script])
        status = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert status is not None
        assert exit_code_of_child(status.si_code, status.si_status) == expected
        child.wait()


def test_an_error_is_one_line_with_place_and_remedy() -> None:
    assert str(ConfigError("is wrong", where="file:3", todo="fix it")) == "file:3: is wrong (fix it)"
    assert str(MinicompError("is wrong")) == "is wrong"


def test_log_lines_carry_the_subsystem() -> None:
    stream = io.StringIO()
    before = logging.getLogger("minicomp").handlers[:]
    try:
        logs.set_up("info", stream)
        logging.getLogger("minicomp.loop").info("woke after %d ns", 5)
        logging.getLogger("minicomp.loop").debug("not shown")
        logging.getLogger("minicomp").error("top")
        try:
            raise ValueError("inner")
        except ValueError:
            logging.getLogger("minicomp.shell.kiosk").exception("policy failed")
    finally:
        logging.getLogger("minicomp").handlers[:] = before
    lines = stream.getvalue().splitlines()
    assert lines[:3] == [
        "minicomp[loop] INFO woke after 5 ns",
        "minicomp ERROR top",
        "minicomp[shell.kiosk] ERROR policy failed",
    ]
    assert lines[-1] == "ValueError: inner"
