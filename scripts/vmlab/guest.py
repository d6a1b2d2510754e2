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
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .agent_link import AgentLink, RequestHandler
from .apt import say
from .errors import GuestDied, LabError
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
# QEMU with several CPU threads can abort while the firmware maps devices (its issue 1921: "iotlb_to_section").
BOOT_RACE = "iotlb_to_section"
BOOT_ATTEMPTS = 4
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
        self._agent: AgentLink | None = None
        self._heads: dict[int, VncHead] = {}

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

    @property
    def agent(self) -> AgentLink:
        if self._agent is None:
            raise LabError("the guest is not started")
        return self._agent

    def start(self) -> None:
        """Boot, and return when the guest takes commands."""
        check(self.machine)
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
        for attempts_left in reversed(range(BOOT_ATTEMPTS)):
            begin_s = time.monotonic()
            try:
                self._boot(qemu_root, arguments, run)
                break
            except GuestDied as error:
                if BOOT_RACE not in str(error) or not attempts_left:
                    raise
                say("QEMU lost its boot race (a known bug of its multi-threaded emulation); booting again")
                self._stop_qemu()
        self.boot_s = time.monotonic() - begin_s

    def close(self) -> None:
        """Power off and end QEMU; remove the run's folder. Safe to call twice, and after a failed start."""
        agent = self._agent
        if self._qemu is not None and agent is not None and agent.ready.is_set() and not agent.gone.is_set():
            # Ended by itself in between: that is what was wanted.
            with contextlib.suppress(GuestDied):
                agent.send(do="poweroff")
                self._qemu.wait(POWEROFF_TIMEOUT_S)
        for head in self._heads.values():
            head.close()
        self._heads.clear()
        self._stop_qemu()
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
        how = {"cwd": str(cwd or self.tree), "env": ENVIRONMENT | (env or {})}
        return self.agent.start(lambda number: GuestProcess(self, number, argv, sink), **how)

    def read_file(self, path: str) -> bytes:
        return base64.b64decode(self.agent.ask(do="read", path=path)["data"])

    def write_file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Folders on the way are made."""
        self.agent.ask(do="write", path=path, data=base64.b64encode(data).decode(), mode=mode)

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
        """Hot-plug a QEMU device: plug_device("usb-kbd", "k1"), ("virtio-mouse-pci", "m1", bus="hotplug0")."""
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
        self.agent.send(do="signal", id=process.id, number=number)

    def describe_death(self) -> str:
        """For an error message: what QEMU and the guest's console said last."""
        said = self._qemu.messages() if self._qemu else ""
        console = self.console().strip().splitlines()
        tail = [line for line in console[:-15] if "Kernel panic" in line or "BUG:" in line] + console[-15:]
        return "\n".join(["the guest ended", *([f"QEMU: {said}"] if said else []), *(f"  console: {t}" for t in tail)])

    def _boot(self, qemu_root: Path, arguments: Sequence[str], run: Path) -> None:
        """Start QEMU and wait for the agent's first word."""
        begin_s = time.monotonic()
        qemu = self._qemu = Qemu(qemu_root, arguments, run / "qemu.log", run)
        try:
            self._qmp = Qmp(run / "qmp.sock", timeout_s=10)
            connection = connect(run / "agent.sock", timeout_s=10)
        except (GuestDied, OSError) as error:
            raise GuestDied(f"{error}; QEMU says: {qemu.messages() or 'nothing'}") from None
        agent = self._agent = AgentLink(connection, self.describe_death, self._on_request)
        while not agent.ready.wait(0.1):
            if agent.gone.is_set() or not qemu.running:
                qemu.wait(1)  # its last words come with its end
                raise GuestDied("boot failed: " + self.describe_death())
            if time.monotonic() - begin_s > BOOT_TIMEOUT_S:
                raise GuestDied(f"no answer within {BOOT_TIMEOUT_S} s of booting: " + self.describe_death())

    def _stop_qemu(self) -> None:
        if self._qemu is not None:
            self._qemu.stop()
            self._qemu = None
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None
        self._agent = None

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


def _code_stamp() -> str:
    """Changes when what the cached image is made from changes."""
    sources = [Path(__file__).parent / name for name in ("init.sh", "initramfs.py")]
    return f"{max(source.stat().st_mtime_ns for source in sources):x}"
