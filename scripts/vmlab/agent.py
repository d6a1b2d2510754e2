"""The guest's process 1: runs commands for the host over a virtio-serial port and reaps every process.

One JSON object a line, each way; bytes travel as base64. From the host: run, signal, write, read, reply, init,
poweroff. To the host: hello, started, output, exit, file, request. Requests come from programs in the guest through
a socket (`vmhost screenshot x.png`, see HOST_TOOL) and are answered by the host. Standard library only, one thread.
"""

from __future__ import annotations

import base64
import json
import os
import selectors
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

PORT_NAME = "vmlab.agent"
HOST_SOCKET = "/run/vmlab/host.sock"
HOST_TOOL = Path("/usr/local/bin/vmhost")
HOST_TOOL_SOURCE = """#!/usr/bin/env -S python3 -I
# Asks the host side of the VM lab: vmhost screenshot FILE | input STEP...; prints its answer.
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("/run/vmlab/host.sock")
s.sendall(("\\x1f".join(sys.argv[1:]) + "\\n").encode())
answer = s.makefile().readline().rstrip("\\n")
ok, _, text = answer.partition(" ")
print(text, file=sys.stdout if ok == "ok" else sys.stderr)
sys.exit(0 if ok == "ok" else 1)
"""
# How long output that is still in the pipes is waited for after a command's own process has ended: a background
# grandchild may hold the pipe for ever.
DRAIN_AFTER_EXIT_S = 0.3


class Command:
    """One command of the host: its process and the pipes that are still open."""

    def __init__(self, number: int, process: subprocess.Popen[bytes]) -> None:
        self.number = number
        self.process = process
        self.open_pipes: set[int] = set()
        self.code: int | None = None
        self.ended_at = 0.0


class Agent:
    def __init__(self, port: int) -> None:
        self._port = port
        self._selector = selectors.DefaultSelector()
        self._commands: dict[int, Command] = {}
        self._input = b""
        self._waiting: dict[int, socket.socket] = {}
        self._next_request = 0
        self._selector.register(port, selectors.EVENT_READ, self._on_host)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(HOST_SOCKET)
        self._listener.listen()
        self._selector.register(self._listener, selectors.EVENT_READ, self._on_guest_tool)
        # SIGCHLD only has to end the wait; the handler itself does nothing.
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # what Ctrl+Alt+Del sends to process 1
        self._selector.register(wake_read, selectors.EVENT_READ, lambda: os.read(wake_read, 4096))

    def serve(self) -> None:
        self._send(event="hello", uptime_s=float(Path("/proc/uptime").read_text().split()[0]))
        while True:
            draining = any(command.code is not None for command in self._commands.values())
            for key, _ in self._selector.select(0.05 if draining else None):
                if key.fileobj in self._selector.get_map():
                    key.data()
            self._reap()
            self._report_ended()

    def _on_host(self) -> None:
        data = os.read(self._port, 65536)
        if not data:
            time.sleep(0.05)  # the host is not connected (yet)
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            try:
                getattr(self, "_do_" + message.pop("do"))(**message)
            except Exception as error:
                self._send(event="error", id=message.get("id"), text=f"{type(error).__name__}: {error}")

    def _do_run(self, id: int, argv: list[str], cwd: str, env: dict[str, str]) -> None:
        try:
            process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            # As a shell says it: 127 for not found, 126 for cannot execute.
            text = base64.b64encode(f"{argv[0]}: {error.strerror}\n".encode()).decode()
            self._send(event="output", id=id, stream="err", data=text)
            self._send(event="exit", id=id, code=127 if isinstance(error, FileNotFoundError) else 126)
            return
        command = self._commands[id] = Command(id, process)
        for stream, name in ((process.stdout, "out"), (process.stderr, "err")):
            assert stream is not None
            pipe = os.dup(stream.fileno())
            stream.close()
            command.open_pipes.add(pipe)
            self._selector.register(pipe, selectors.EVENT_READ, self._pipe_reader(command, pipe, name))
        self._send(event="started", id=id, pid=process.pid)

    def _pipe_reader(self, command: Command, pipe: int, name: str) -> Any:
        def on_readable() -> None:
            data = os.read(pipe, 65536)
            if data:
                self._send(event="output", id=command.number, stream=name, data=base64.b64encode(data).decode())
            else:
                self._close_pipe(command, pipe)

        return on_readable

    def _close_pipe(self, command: Command, pipe: int) -> None:
        self._selector.unregister(pipe)
        os.close(pipe)
        command.open_pipes.discard(pipe)

    def _do_signal(self, id: int, number: int) -> None:
        """Signal a command's whole process group; one that has ended already is no error."""
        if command := self._commands.get(id):
            try:
                os.killpg(command.process.pid, number)
            except ProcessLookupError:
                return

    def _do_write(self, id: int, path: str, data: str, mode: int) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(base64.b64decode(data))
        target.chmod(mode)
        self._send(event="file", id=id, data="")

    def _do_read(self, id: int, path: str) -> None:
        self._send(event="file", id=id, data=base64.b64encode(Path(path).read_bytes()).decode())

    def _do_reply(self, id: int, ok: bool, text: str) -> None:
        with self._waiting.pop(id) as tool:
            tool.sendall(f"{'ok' if ok else 'failed'} {text}\n".encode())

    def _do_init(self, id: int, argv: list[str]) -> None:
        """Give process 1 to another program, as a second boot without a reboot; the agent goes on as its child."""
        if os.fork() != 0:
            os.execv(argv[0], argv)  # failing ends process 1, and with it the guest: the console says why
        os.setsid()
        self._send(event="file", id=id, data="")

    def _do_poweroff(self) -> None:
        os.sync()
        # The machine has nothing to lose: its disks are the host's folders.
        Path("/proc/sysrq-trigger").write_text("o")
        time.sleep(10)

    def _on_guest_tool(self) -> None:
        tool, _ = self._listener.accept()
        line = b""
        while not line.endswith(b"\n"):
            data = tool.recv(4096)
            if not data:
                tool.close()
                return
            line += data
        self._next_request += 1
        self._waiting[self._next_request] = tool
        self._send(event="request", id=self._next_request, words=line.decode().rstrip("\n").split("\x1f"))

    def _reap(self) -> None:
        """Collect every ended child: the commands', and the orphans that fall to process 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for command in self._commands.values():
                if command.process.pid == pid:
                    code = os.waitstatus_to_exitcode(status)
                    command.process.returncode = code
                    command.code, command.ended_at = (128 - code if code < 0 else code), time.monotonic()

    def _report_ended(self) -> None:
        for command in list(self._commands.values()):
            if command.code is None:
                continue
            if not command.open_pipes or time.monotonic() - command.ended_at > DRAIN_AFTER_EXIT_S:
                for pipe in list(command.open_pipes):
                    self._close_pipe(command, pipe)
                del self._commands[command.number]
                self._send(event="exit", id=command.number, code=command.code)

    def _send(self, **message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(self._port, data) :]


def open_port() -> int:
    for port in Path("/sys/class/virtio-ports").iterdir():
        if (port / "name").read_text().strip() == PORT_NAME:
            return os.open(f"/dev/{port.name}", os.O_RDWR | os.O_CLOEXEC)
    raise SystemExit(f"vmlab: no virtio port named {PORT_NAME}")


def main() -> None:
    HOST_TOOL.parent.mkdir(parents=True, exist_ok=True)
    HOST_TOOL.write_text(HOST_TOOL_SOURCE)
    HOST_TOOL.chmod(0o755)
    Agent(open_port()).serve()


if __name__ == "__main__":
    main()
