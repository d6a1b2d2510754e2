"""One booted guest: start and certain end, commands in it, files, and the person at its screen.

    with Guest() as guest:
        app = guest.spawn(["scripts/minicomp", "run", "--backend", "drm", "--", "weston-simple-egl"])
        guest.screenshot(Path("out.png"))

The tree is mounted read-write at its own place, everything else of the host's root is seen through an overlay that
is thrown away. `share` (a host folder) is /run/share in the guest. Every wait has a time limit; leaving the `with`
block ends QEMU whatever happened. One thread reads the agent's messages; callers may use several threads.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import queue
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .errors import CommandTimeout, GuestDied, LabError
from .initramfs import Archive, function_image
from .layers import MESA, QEMU, TOOLS, LayerStore, Recipe, find_tool
from .process import Completed, GuestProcess, OutputSink
from .qemu import Machine, Qemu, check, function_arguments, verify
from .qmp import Qmp, connect
from .vnc import VncHead

TREE = Path(__file__).resolve().parents[2]
MODULES = "virtio_gpu virtio_input evdev uinput udmabuf xhci_pci usbhid hid_generic"
BOOT_TIMEOUT_S = 180
POWEROFF_TIMEOUT_S = 10
FILE_TIMEOUT_S = 30
# dict(os.environ) would carry the host's session into the guest; this is what a root login has.
ENVIRONMENT = {
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "LIBSEAT_BACKEND": "seatd",
    "LOGNAME": "root",
    "MINICOMP_VM": "1",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SHELL": "/bin/bash",
    "TERM": "linux",
    "USER": "root",
    "XDG_RUNTIME_DIR": "/run/user/0",
}
# A guest program's request to the host: words in, answer out; LabError is the answer "failed".
RequestHandler = Callable[[Sequence[str]], str]


class Guest:
    def __init__(
        self,
        machine: Machine | None = None,
        *,
        tree: Path = TREE,
        share: Path | None = None,
        kernel: str | None = None,
        packages: Sequence[str] = (),
        seatd: bool = True,
        store: LayerStore | None = None,
        on_request: RequestHandler | None = None,
    ) -> None:
        """`packages`: Debian packages to have in this guest on top of what the host has installed."""
        self.machine = machine or Machine()
        self.tree = tree.resolve()
        self.boot_s = 0.0
        self._on_request = on_request
        self._share = share
        self._kernel_version = kernel
        self._packages = tuple(packages)
        self._seatd = seatd
        self._store = store or LayerStore()
        self._run_dir: Path | None = None
        self._qemu: Qemu | None = None
        self._qmp: Qmp | None = None
        self._heads: dict[int, VncHead] = {}
        self._ids = itertools.count(1)
        self._processes: dict[int, GuestProcess] = {}
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._hello = threading.Event()
        self._gone = threading.Event()
        self._send_lock = threading.Lock()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def qmp(self) -> Qmp:
        """QEMU's monitor, for what has no method here."""
        if self._qmp is None:
            raise LabError("the guest is not started")
        return self._qmp

    def start(self) -> None:
        """Boot, and return when the guest takes commands."""
        check(self.machine)
        begin_s = time.monotonic()
        store = self._store
        tools, qemu_root = store.layer(TOOLS), store.layer(QEMU)
        layers = [tools, store.layer(MESA)]
        if self._packages:
            layers.append(store.layer(Recipe("extra", self._packages)))
        kernel = store.kernel(self._kernel_version)
        layers.append(kernel.root)
        verify(qemu_root)
        run = self._run_dir = Path(tempfile.mkdtemp(prefix="minicomp-vm-"))
        share = self._share or run / "share"
        share.mkdir(parents=True, exist_ok=True)
        base = store.folder / "images" / f"{kernel.release}-{_code_stamp()}.cpio"
        if not base.exists():
            function_image(kernel, find_tool("busybox", tools), base)
        image = run / "initrd"
        self._write_image(base, layers, image)
        shares = {
            "hostroot": (Path("/"), False),
            "layers": (store.folder / "layers", False),
            "tree": (self.tree, True),
            "share": (share.resolve(), True),
        }
        arguments = function_arguments(self.machine, kernel, image, run, shares)
        self._qemu = Qemu(qemu_root, arguments, run / "qemu.log", run)
        try:
            self._qmp = Qmp(run / "qmp.sock", timeout_s=10)
            self._agent = connect(run / "agent.sock", timeout_s=10)
        except GuestDied as error:
            raise GuestDied(f"{error}; QEMU says: {self._qemu.messages() or 'nothing'}") from None
        threading.Thread(target=self._read_agent, name="vm-agent", daemon=True).start()
        self._await_boot(begin_s)

    def close(self) -> None:
        """Power off and end QEMU; remove the run's folder. Safe to call twice, and after a failed start."""
        if self._qemu is not None:
            if self._hello.is_set() and not self._gone.is_set():
                try:
                    self._send(do="poweroff")
                    self._qemu.wait(POWEROFF_TIMEOUT_S)
                except GuestDied:
                    pass  # ended by itself in between: that is what was wanted
            self._qemu.stop()
            self._qemu = None
        for head in self._heads.values():
            head.close()
        self._heads.clear()
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None
        if self._run_dir is not None:
            shutil.rmtree(self._run_dir, ignore_errors=True)
            self._run_dir = None

    def run(
        self,
        command: str | Sequence[str],
        timeout_s: float = 60,
        *,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        sink: OutputSink | None = None,
    ) -> Completed:
        """Run a command (a string goes through sh) to its end; CommandTimeout kills it and carries its output."""
        return self.spawn(command, cwd=cwd, env=env, sink=sink).wait(timeout_s)

    def spawn(
        self,
        command: str | Sequence[str],
        *,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        sink: OutputSink | None = None,
    ) -> GuestProcess:
        """Start a command and return at once. `sink` is called with each piece of output as it comes."""
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else [str(word) for word in command]
        process = GuestProcess(self, next(self._ids), argv, sink)
        self._processes[process.id] = process
        folder = str(cwd or self.tree)
        self._send(do="run", id=process.id, argv=argv, cwd=folder, env=ENVIRONMENT | (env or {}))
        return process

    def read_file(self, path: str) -> bytes:
        return base64.b64decode(self._ask(do="read", path=path)["data"])

    def write_file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Folders on the way are made."""
        self._ask(do="write", path=path, data=base64.b64encode(data).decode(), mode=mode)

    def screenshot(self, target: Path, head: int = 0) -> Path:
        """Write what the head shows now as a PNG; `target` is on the host."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self.qmp.screendump(target.absolute(), head)
        return target

    def plug_output(self, head: int, width: int, height: int) -> None:
        """Plug a monitor with this preferred mode into a head, or change the one there: a real hot-plug event."""
        if head not in self._heads:
            if not 0 <= head < self.machine.outputs:
                raise LabError(f"no head {head}: this guest was booted with outputs={self.machine.outputs}")
            assert self._run_dir is not None
            self._heads[head] = VncHead(self._run_dir / f"vnc{head}.sock")
        self._heads[head].set_size(width, height)

    def unplug_output(self, head: int) -> None:
        if head not in self._heads:
            # QEMU takes a first 0x0 for no change.
            self.plug_output(head, *self.machine.screen)
            time.sleep(0.5)
        self._heads[head].set_size(0, 0)

    def plug_device(self, driver: str, name: str, **properties: Any) -> None:
        """Hot-plug a QEMU device, as plug_device("usb-kbd", "kbd1") or ("virtio-tablet-pci", "tab1", bus="hotplug0")."""
        self.qmp.execute("device_add", driver=driver, id=name, **properties)

    def unplug_device(self, name: str, timeout_s: float = 20) -> None:
        """Pull a device out and wait until the guest has let go of it (PCI: up to 10 s)."""
        self.qmp.execute("device_del", id=name)
        self.qmp.wait_event("DEVICE_DELETED", timeout_s, device=name)

    def console(self) -> str:
        """The kernel's console so far."""
        log = self._run_dir / "console.log" if self._run_dir else None
        return log.read_text(errors="replace") if log and log.exists() else ""

    def signal(self, process: GuestProcess, number: int) -> None:
        self._send(do="signal", id=process.id, number=number)

    def describe_death(self) -> str:
        """For an error message: what QEMU and the guest's console said last."""
        said = self._qemu.messages() if self._qemu else ""
        console = self.console().strip().splitlines()
        tail = [line for line in console[:-15] if "Kernel panic" in line or "BUG:" in line] + console[-15:]
        return "\n".join(["the guest ended", *([f"QEMU: {said}"] if said else []), *(f"  console: {line}" for line in tail)])

    def _await_boot(self, begin_s: float) -> None:
        assert self._qemu is not None
        while not self._hello.wait(0.1):
            if self._gone.is_set() or not self._qemu.running:
                raise GuestDied("boot failed: " + self.describe_death())
            if time.monotonic() - begin_s > BOOT_TIMEOUT_S:
                raise GuestDied(f"no answer within {BOOT_TIMEOUT_S} s of booting: " + self.describe_death())
        self.boot_s = time.monotonic() - begin_s

    def _write_image(self, base: Path, layers: Sequence[Path], target: Path) -> None:
        settings = {
            "LAB_CODE": str(Path(__file__).resolve().parent),
            "LAB_LAYERS": " ".join(layer.parent.name for layer in layers),
            "LAB_MODULES": MODULES,
            "LAB_PYTHON": sys.executable,
            "LAB_SEATD": "1" if self._seatd else "0",
            "LAB_TREE": str(self.tree),
            "LAB_TREE_CACHE": "none",
        }
        lines = "".join(f"{key}='{value}'\n" for key, value in settings.items())
        own = Archive()
        own.add_data("lab.conf", lines.encode())
        own.write(target)
        target.write_bytes(base.read_bytes() + target.read_bytes())

    def _send(self, **message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            with self._send_lock:
                self._agent.sendall(data)
        except OSError:
            raise GuestDied(self.describe_death()) from None

    def _ask(self, **message: Any) -> dict[str, Any]:
        number = next(self._ids)
        answers = self._answers[number] = queue.Queue(1)
        self._send(id=number, **message)
        try:
            answer = answers.get(timeout=FILE_TIMEOUT_S)
        except queue.Empty:
            raise GuestDied(f"no answer from the guest within {FILE_TIMEOUT_S} s") from None
        finally:
            del self._answers[number]
        if answer["event"] == "error":
            raise LabError(f"in the guest: {answer['text']}")
        return answer

    def _read_agent(self) -> None:
        """Thread: hand each message of the agent to whom it concerns, until QEMU closes the port."""
        try:
            with self._agent.makefile("rb") as lines:
                for line in lines:
                    self._on_message(json.loads(line))
        finally:
            self._gone.set()
            for process in list(self._processes.values()):
                process.on_guest_gone()

    def _on_message(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "hello":
            self._hello.set()
        elif event == "request":
            threading.Thread(target=self._serve_request, args=(message,), daemon=True).start()
        elif process := self._processes.get(message.get("id", 0)):
            process.on_message(message)
            if event in ("exit", "error"):
                del self._processes[process.id]
        elif answers := self._answers.get(message.get("id", 0)):
            answers.put(message)

    def _serve_request(self, message: dict[str, Any]) -> None:
        try:
            if self._on_request is None:
                raise LabError("nothing on the host answers requests of this guest")
            ok, text = True, self._on_request(message["words"])
        except LabError as error:
            ok, text = False, str(error)
        self._send(do="reply", id=message["id"], ok=ok, text=" ".join(text.split()))


def _code_stamp() -> str:
    """Changes when what the cached image is made from changes."""
    sources = [Path(__file__).parent / name for name in ("init.sh", "initramfs.py")]
    return f"{max(source.stat().st_mtime_ns for source in sources):x}"
