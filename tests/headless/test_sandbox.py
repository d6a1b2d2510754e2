"""[app] sandbox: what the program can use, what it must not reach, and how it ends."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from minicomp.compositor.sandbox import sandboxed
from minicomp.config.schema import AppSettings
from minicomp.errors import ExitCode, PreconditionError
from tests.headless.test_run import MINICOMP
from tests.headless.test_run import run as run_minicomp

SANDBOXED = ("--set", "app.sandbox=true")
COMMAND = (*MINICOMP, "run", "--backend", "headless", *SANDBOXED)
INFO = "/usr/bin/wayland-info"


def user_namespaces() -> bool:
    command = ["bwrap", "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "true"]
    return shutil.which("bwrap") is not None and subprocess.run(command, capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not user_namespaces(), reason="bubblewrap is missing or user namespaces are refused")


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_minicomp(None, *SANDBOXED, *arguments, timeout_s=30, **environment)


def inside(script: str, *settings: str, **environment: str) -> str:
    """What a shell script in the sandbox prints; it must end with 0."""
    result = run(*settings, "--", "/bin/sh", "-c", script, **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_wayland_client_runs_in_it() -> None:
    assert "interface: 'xdg_wm_base'" in inside(INFO)


def test_it_has_the_grants_of_the_app_and_of_its_executable() -> None:
    for setting in ('app.globals=["screencopy"]', f'trust.client=[{{exe="{INFO}", globals=["screencopy"]}}]'):
        text = inside(f"{INFO}; true", "--set", "trust.mode=listed", "--set", setting)
        assert "zwlr_screencopy_manager_v1" in text and "zwlr_layer_shell_v1" not in text, setting


def test_a_connection_of_its_own_comes_without_the_socket() -> None:
    settings = ("--set", "app.own_connection=true", "--set", "trust.mode=listed")
    text = inside(f"ls -A $XDG_RUNTIME_DIR; exec {INFO}", *settings)
    assert "wayland-" not in text.partition("interface:")[0] and "interface: 'xdg_wm_base'" in text


def test_it_does_not_reach_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    home = tmp_path / "home"
    home.mkdir()
    (home / "mine").write_text("mine")
    script = f"test ! -e {tmp_path}/secret && test ! -e $HOME/mine && test ! -e /etc/shadow && test ! -e /var/log && "
    script += "test ! -e /dev/mem && test ! -e /dev/input && ! touch /usr/x 2>/dev/null && echo kept > $HOME/new && cat $HOME/new"
    assert inside(script, HOME=str(home)) == "kept\n"
    assert [path.name for path in home.iterdir()] == ["mine"]


def test_it_does_not_reach_other_processes() -> None:
    """Of all that run outside it sees none: only bubblewrap's process 1 and its own."""
    assert sorted(inside("cat /proc/[0-9]*/comm").split()) == ["bwrap", "sh"]
    refused = run("--", "/bin/sh", "-c", f"exec kill -0 {os.getpid()}")
    assert refused.returncode == 1 and "No such process" in refused.stderr


def test_it_does_not_reach_the_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0minicomp-test-{os.getpid()}")
        abstract.listen()
        script = f"""python3 - <<'END'
import socket
for family, address in ((socket.AF_INET, {server.getsockname()!r}), (socket.AF_UNIX, {abstract.getsockname()!r})):
    try:
        socket.socket(family).connect(address)
        print("reached")
    except OSError:
        print("refused")
END"""
        assert inside(script).split() == ["refused", "refused"]
        assert inside(script, "--set", "app.sandbox_network=true").split() == ["reached", "reached"]


def test_it_does_not_reach_other_sockets(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(tmp_path / "bus"))
        text = inside(
            "ls -A $XDG_RUNTIME_DIR; echo $DBUS_SESSION_BUS_ADDRESS $MINICOMP_SOCKET",
            XDG_RUNTIME_DIR=str(tmp_path),
            DBUS_SESSION_BUS_ADDRESS=f"unix:path={tmp_path}/bus",
        )
    assert text.split() == ["wayland-0"]


def test_no_user_namespace_and_no_capability_inside() -> None:
    text = inside("grep CapEff /proc/self/status; unshare --user true 2>/dev/null && echo made; true")
    assert text.split() == ["CapEff:", "0" * 16]


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143)])
def test_exit_codes_are_the_programs(script: str, code: int) -> None:
    assert run("--", "/bin/sh", "-c", script).returncode == code


def test_programs_that_are_not_there() -> None:
    missing = run("--", "no-such-program")
    assert missing.returncode == ExitCode.NOT_FOUND and "command not found" in missing.stderr


def test_a_program_outside_must_be_let_in(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    refused = run("--", str(program))
    assert refused.returncode == ExitCode.CANNOT_EXECUTE and "app.sandbox_read_only" in refused.stderr
    admitted = run("--set", f'app.sandbox_read_only=["{tmp_path}"]', "--", str(program))
    assert (admitted.returncode, admitted.stdout) == (0, "hello\n"), admitted.stderr


def test_sigterm_reaches_the_program() -> None:
    script = "trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    with subprocess.Popen([*COMMAND, "--", "/bin/sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "up\n"
            process.send_signal(signal.SIGTERM)
            assert process.stdout.read() == "asked\n"
            assert process.wait(10) == 5
        finally:
            process.kill()


def test_it_ends_with_the_compositor(tmp_path: Path) -> None:
    marker = f"3{os.getpid() % 1000:03d}.5"
    with subprocess.Popen(
        [*COMMAND, "--", "/bin/sh", "-c", f"echo up; sleep {marker}"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"up\n"
        process.kill()
    deadline = time.monotonic() + 5
    while running(marker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running(marker)


def running(argument: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes() == f"sleep\0{argument}\0".encode():
                return True
        except OSError:
            continue
    return False


def test_without_bubblewrap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PreconditionError, match="bubblewrap is not installed"):
        sandboxed(AppSettings(sandbox=True), ["/usr/bin/true"], {"PATH": "/usr/bin"})


def test_refused_user_namespaces_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A real bubblewrap where no more user namespaces may be made."""
    script = "echo 0 > /proc/sys/user/max_user_namespaces && exec " + " ".join(COMMAND) + " -- true"
    nested = ["unshare", "--user", "--map-root-user", "sh", "-c", script]
    result = subprocess.run(nested, capture_output=True, text=True, timeout=30)
    assert result.returncode == ExitCode.UNAVAILABLE, result
    assert "bubblewrap cannot make the sandbox" in result.stderr and "user.max_user_namespaces" in result.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can hide a part of /proc")
def test_a_hidden_part_of_proc_is_named() -> None:
    """As ProtectKernelTunables= of systemd does."""
    script = "mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec " + " ".join(COMMAND)
    nested = ["unshare", "--mount", "sh", "-c", f"{script} -- true"]
    result = subprocess.run(nested, capture_output=True, text=True, timeout=30)
    assert result.returncode == ExitCode.UNAVAILABLE and "ProtectKernelTunables" in result.stderr, result
