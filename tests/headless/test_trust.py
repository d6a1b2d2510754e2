"""Who sees the globals that spy or inject: by uid, executable and socket, decided when a client connects."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from minicomp.compositor.globals import PRIVILEGED
from minicomp.testing.client import Client
from minicomp.testing.instance import InProcess, configure
from tests.headless.programs import output_of
from tests.headless.test_run import run

INFO = "/usr/bin/wayland-info"
NOBODY = 65534
root_only = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as somebody else")


def listed(*clients: dict[str, Any], **more: Any) -> InProcess:
    return InProcess(configure(trust__mode="listed", trust__client=clients, **more))


def globals_of(instance: InProcess, *prefix: str) -> set[str]:
    """What wayland-info is offered."""
    text = output_of(instance, [*prefix, INFO])
    return set(re.findall(r"interface: '(\w+)'", text))


def groups(offered: set[str]) -> set[str]:
    """Configuration names of the privileged globals among these."""
    return {group for group, name in PRIVILEGED.items() if name in offered}


def test_headless_trusts_its_own_user() -> None:
    with InProcess() as instance:
        assert groups(globals_of(instance)) == set(PRIVILEGED)


def test_listed_hides_exactly_the_privileged_globals() -> None:
    with InProcess() as instance:
        everything = globals_of(instance)
    with listed() as instance:
        assert everything - globals_of(instance) == set(PRIVILEGED.values())


@pytest.mark.parametrize("group", PRIVILEGED)
def test_each_group_can_be_granted_alone(group: str) -> None:
    with listed({"exe": INFO, "globals": [group]}) as instance:
        assert groups(globals_of(instance)) == {group}


def test_all_grants_everything() -> None:
    with listed({"exe": INFO, "globals": ["all"]}) as instance:
        assert groups(globals_of(instance)) == set(PRIVILEGED)


def test_grim_may_take_pictures_and_others_may_not(tmp_path: Path) -> None:
    with listed({"exe": "/usr/bin/grim", "globals": ["screencopy"]}) as instance:
        output_of(instance, ["grim", tmp_path / "picture.png"])
        assert (tmp_path / "picture.png").stat().st_size > 100
        copy = tmp_path / "grim"  # the same program elsewhere is another executable
        copy.write_bytes(Path("/usr/bin/grim").read_bytes())
        copy.chmod(0o755)
        code, text = instance.run([str(copy), str(tmp_path / "other.png")])
        assert code != 0 and "wlr-screencopy" in text
        assert not (tmp_path / "other.png").exists()
        code, text = instance.run(["wtype", "x"])
        assert code != 0 and "virtual keyboard" in text
        assert not groups(globals_of(instance))


@pytest.mark.parametrize(("socket", "granted"), [("wayland-trusted", {"layer-shell"}), ("wayland-other", set())])
def test_by_socket(socket: str, granted: set[str]) -> None:
    with listed({"socket": "wayland-trusted", "globals": ["layer-shell"]}, backend__socket=socket) as instance:
        assert instance.compositor.socket == socket
        assert groups(globals_of(instance)) == granted


@pytest.mark.parametrize("mine", [True, False])
def test_by_uid(mine: bool) -> None:
    uid = os.getuid() if mine else os.getuid() + 1
    with listed({"uid": uid, "globals": ["data-control"]}) as instance:
        assert groups(globals_of(instance)) == ({"data-control"} if mine else set())


def test_every_condition_of_a_rule_must_hold() -> None:
    rule = {"uid": os.getuid() + 1, "exe": INFO, "globals": ["all"]}
    with listed(rule) as instance:
        assert not groups(globals_of(instance))


def test_the_first_rule_that_fits_decides() -> None:
    rules = {"exe": INFO, "globals": ["screencopy"]}, {"uid": os.getuid(), "globals": ["all"]}
    with listed(*rules) as instance:
        assert groups(globals_of(instance)) == {"screencopy"}
        with Client(instance.compositor.socket) as client:
            assert groups(set(client.globals)) == set(PRIVILEGED)


# ---- other users ----


def open_to_everybody(instance: InProcess) -> None:
    """What an administrator might do on purpose: let other users reach the socket."""
    folder = Path(os.environ["XDG_RUNTIME_DIR"])
    folder.chmod(0o711)
    (folder / instance.compositor.socket).chmod(0o666)


AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


@root_only
def test_other_users_cannot_even_connect() -> None:
    with InProcess() as instance:
        code, text = instance.run([*AS_NOBODY, INFO])
        assert code != 0 and "Permission denied" in text


@root_only
def test_other_users_who_are_let_in_are_not_trusted() -> None:
    with InProcess() as instance:
        open_to_everybody(instance)
        assert not groups(globals_of(instance, *AS_NOBODY))
        assert groups(globals_of(instance)) == set(PRIVILEGED)


@root_only
def test_other_users_get_what_a_rule_gives_them() -> None:
    with listed({"uid": NOBODY, "globals": ["screencopy", "layer-shell"]}) as instance:
        open_to_everybody(instance)
        assert groups(globals_of(instance, *AS_NOBODY)) == {"screencopy", "layer-shell"}
        assert not groups(globals_of(instance))


# ---- nothing is gained later ----


def test_a_hidden_global_cannot_be_bound_by_its_number() -> None:
    """The number is no secret: a trusted client tells it. The request is a protocol error, as for no global at all."""
    from pywayland.protocol.wayland import WlShm

    code = (
        "import sys; from minicomp.testing.client import Client\n"
        "client = Client(sys.argv[1]); print(client.globals['zwlr_screencopy_manager_v1'][0])"
    )
    with listed({"exe": "/usr/bin/wayland-info", "globals": ["all"]}) as instance:
        text = output_of(instance, [INFO])
        found = re.search(r"'zwlr_screencopy_manager_v1',\s+version:\s+\d+, name:\s+(\d+)", text)
        assert found is not None, (text, code)
        with Client(instance.compositor.socket) as client:
            assert not groups(set(client.globals))
            client.registry.bind(int(found[1]), WlShm, 1)  # any interface will do: the number is refused first
            with pytest.raises(RuntimeError):
                client.roundtrip()
        with Client(instance.compositor.socket) as client:
            client.roundtrip()  # others are not affected


EXEC_AFTER_CONNECTING = """
import os, socket, sys, time
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.path.join(os.environ["XDG_RUNTIME_DIR"], os.environ["WAYLAND_DISPLAY"]))
time.sleep(0.3)  # the compositor has seen who connects
os.set_inheritable(connection.fileno(), True)
os.environ["WAYLAND_SOCKET"] = str(connection.fileno())
os.execv(sys.argv[1], [sys.argv[1]])
"""


def test_becoming_a_trusted_program_after_connecting_is_too_late() -> None:
    with listed({"exe": INFO, "globals": ["all"]}) as instance:
        text = output_of(instance, [sys.executable, "-c", EXEC_AFTER_CONNECTING, INFO])
        offered = set(re.findall(r"interface: '(\w+)'", text))
        assert "wl_compositor" in offered and not groups(offered)
        assert groups(globals_of(instance)) == set(PRIVILEGED)  # the same program by itself


OWN_CONNECTION = ("--set", "trust.mode=listed", "--set", "app.own_connection=true")
RULE = ("--set", f'trust.client=[{{exe="{INFO}", globals=["all"]}}]')
LISTED = ("--set", "trust.mode=listed", "--set", 'app.globals=["screencopy"]')


def offers(result: subprocess.CompletedProcess[str]) -> list[set[str]]:
    """The privileged groups that each wayland-info of a run was offered."""
    parts = re.split(r"(?m)^(?=interface: 'wl_compositor')", result.stdout)[1:]
    return [groups(set(re.findall(r"interface: '(\w+)'", part))) for part in parts]


def test_an_app_on_a_connection_of_its_own_has_what_app_globals_says() -> None:
    """Rules say nothing about that connection."""
    result = run(None, *OWN_CONNECTION, *RULE, "--set", 'app.globals=["screencopy"]', "--", INFO)
    assert offers(result) == [{"screencopy"}], result.stderr
    assert offers(run(None, *OWN_CONNECTION, *RULE, "--", INFO)) == [set()]
    assert offers(run(None, *OWN_CONNECTION, *RULE, "--", "sh", "-c", f"exec {INFO}")) == [set()]


def test_every_program_of_a_script_has_what_app_globals_says() -> None:
    result = run(None, *LISTED, "--", "sh", "-ec", f"{INFO}; sh -c '{INFO}; true'; exec {INFO}")
    assert offers(result) == [{"screencopy"}] * 3, result.stderr


def test_a_script_without_app_globals_has_what_rules_give() -> None:
    """As every other client; with app.globals, both."""
    script = ("--", "sh", "-ec", f"{INFO}; {INFO}")
    assert offers(run(None, "--set", "trust.mode=listed", *script)) == [set(), set()]
    rule = ("--set", f'trust.client=[{{exe="{INFO}", globals=["layer-shell"]}}]')
    assert offers(run(None, "--set", "trust.mode=listed", *rule, *script)) == [{"layer-shell"}] * 2
    assert offers(run(None, *LISTED, *rule, *script)) == [{"layer-shell", "screencopy"}] * 2


ORPHAN = """
import os, subprocess, sys
read_end, write_end = os.pipe()
if os.fork() == 0:
    parent = os.getpid()
    if os.fork() == 0:
        while os.getppid() == parent:
            pass
        subprocess.run(sys.argv[1:])
    os._exit(0)
os.close(write_end)
os.read(read_end, 1)  # returns when the last of them has ended
"""


def test_whose_parent_has_ended_is_nobodys() -> None:
    result = run(None, *LISTED, "--", sys.executable, "-c", ORPHAN, INFO)
    assert offers(result) == [set()], result.stderr


def test_a_stranger_has_not_what_the_app_has(tmp_path: Path) -> None:
    """It runs beside the app, with the same uid and the same program."""
    ready, go_on = tmp_path / "ready", tmp_path / "go on"
    os.mkfifo(ready)
    os.mkfifo(go_on)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    tmp_path.chmod(0o700)
    script = f"echo $WAYLAND_DISPLAY > '{ready}'; read line < '{go_on}'; {INFO}"
    process = subprocess.Popen(
        [sys.executable, "-m", "minicomp", "run", "--backend", "headless", *LISTED, "--", "sh", "-c", script],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    environment["WAYLAND_DISPLAY"] = ready.read_text().strip()
    stranger = subprocess.run([INFO], env=environment, capture_output=True, text=True, timeout=20)
    go_on.write_text("now\n")
    output, errors = process.communicate(timeout=20)
    assert offers(stranger) == [set()], stranger.stderr
    assert offers(subprocess.CompletedProcess([], 0, output)) == [{"screencopy"}], errors


def test_a_rule_without_a_condition_is_refused() -> None:
    result = run(None, "--set", 'trust.client=[{globals=["all"]}]', "--", "true")
    assert result.returncode == 2
    assert "exe, uid, socket" in result.stderr and len(result.stderr.strip().splitlines()) == 1
