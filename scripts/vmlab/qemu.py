"""The QEMU process: its command line for the function VM, and its start and certain end.

Software emulation (TCG) by default, so that the same guest runs on a developer's machine, in CI and inside another
VM. The machine has a virtio display with as many heads as asked for (each with a VNC socket, which is how a head is
plugged), a bus for hot-plugging, and the input devices named. Nothing listens outside of the run's own folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .layers import Kernel, library_path

# name -> QEMU device model. Names are what `Guest(devices=...)` and --devices take.
INPUT_DEVICES = {
    "keyboard": "virtio-keyboard-pci",
    "tablet": "virtio-tablet-pci",
    "mouse": "virtio-mouse-pci",
    "touch": "virtio-multitouch-pci",
}
HOTPLUG_PORTS = 4
BASE_CMDLINE = (
    "console=tty0 console=ttyS0 loglevel=4 panic=-1 rdinit=/init audit=0 mitigations=off random.trust_cpu=on "
    "tsc=reliable no_timer_check"
)
# The kernel's input driver sends LED and repeat events that QEMU's devices do not know.
HARMLESS = ("virtio_input_hid_handle_status: unknown type",)
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Machine:
    """What the guest looks like. `screen` is the preferred mode of every head."""

    memory: str = "2G"
    cpus: int = 2
    outputs: int = 1
    screen: tuple[int, int] = (1280, 800)
    devices: tuple[str, ...] = ("keyboard", "tablet")
    cmdline: str = ""
    kvm: bool = False


class Qemu:
    """A started QEMU. `stop` is safe to call at any time and more than once."""

    def __init__(self, root: Path, arguments: Sequence[str], log: Path, busy_cwd: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [str(root / "usr/bin/qemu-system-x86_64"), *_data_folders(root), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=dict(
                    os.environ,
                    LD_LIBRARY_PATH=library_path(root),
                    QEMU_MODULE_DIR=str(root / "usr/lib/x86_64-linux-gnu/qemu"),
                ),
                cwd=busy_cwd,
                preexec_fn=_die_with_parent,
                # Ctrl-C at the terminal is for the driver, which then ends QEMU in order.
                process_group=0,
            )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait(self, timeout_s: float) -> int | None:
        """QEMU's exit code, or None when it still runs after `timeout_s`."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s)
        return None

    def stop(self) -> None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if self.running:
                self._process.send_signal(sign)
                self.wait(3)

    def messages(self) -> str:
        """What QEMU itself wrote."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith(HARMLESS))


def function_arguments(
    machine: Machine, kernel: Kernel, image: Path, run: Path, shares: dict[str, tuple[Path, bool]]
) -> list[str]:
    """QEMU's arguments for the function VM. `shares`: 9p tag -> (host folder, writable)."""
    check(machine)
    width, height = machine.screen
    arguments = ["-nodefaults", "-no-user-config", "-no-reboot", "-machine", "q35,i8042=off"]
    arguments += ["-accel", "kvm"] if machine.kvm else ["-accel", "tcg,thread=multi"]
    arguments += ["-cpu", "host" if machine.kvm else "max", "-m", machine.memory, "-smp", str(machine.cpus)]
    arguments += ["-display", "none", "-vga", "none"]
    arguments += ["-device", f"virtio-vga,id=vga0,max_outputs={machine.outputs},xres={width},yres={height}"]
    for head in range(machine.outputs):
        arguments += ["-vnc", f"unix:{run}/vnc{head}.sock,id=v{head},display=vga0,head={head}"]
    arguments += ["-serial", f"file:{run}/console.log"]
    arguments += ["-qmp", f"unix:{run}/qmp.sock,server=on,wait=off"]
    arguments += ["-device", "virtio-serial-pci", "-device", "virtserialport,name=vmlab.agent,chardev=agent"]
    arguments += ["-chardev", f"socket,id=agent,path={run}/agent.sock,server=on,wait=off"]
    for tag, (folder, writable) in shares.items():
        escaped = str(folder).replace(",", ",,")
        access = "" if writable else ",readonly=on"
        arguments += ["-fsdev", f"local,id={tag},path={escaped},security_model=none,multidevs=remap{access}"]
        arguments += ["-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
    for name in machine.devices:
        arguments += ["-device", f"{INPUT_DEVICES[name]},id={name}0"]
    for port in range(HOTPLUG_PORTS):
        arguments += ["-device", f"pcie-root-port,id=hotplug{port},chassis={port + 1},slot={port + 1}"]
    arguments += ["-device", "qemu-xhci,id=usb"]
    arguments += ["-kernel", str(kernel.image), "-initrd", str(image)]
    return [*arguments, "-append", f"{BASE_CMDLINE} {machine.cmdline}".strip()]


def check(machine: Machine) -> None:
    """Say what is wrong with a machine's options, before QEMU does in its own words."""
    unknown = [name for name in machine.devices if name not in INPUT_DEVICES]
    if unknown:
        raise LabError(f"unknown input device {unknown[0]!r}: choose from {', '.join(INPUT_DEVICES)}")
    if not 1 <= machine.outputs <= 16:
        raise LabError(f"{machine.outputs} outputs: the display has 1 to 16")
    if machine.cpus < 1:
        raise LabError(f"{machine.cpus} CPUs: at least 1 is needed")
    if machine.kvm and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        raise LabError("no usable /dev/kvm on this machine: leave --kvm out, emulation needs none")


def verify(root: Path) -> None:
    """QEMU runs here at all: its libraries are those of the layer and of the host."""
    command = [str(root / "usr/bin/qemu-system-x86_64"), "--version"]
    done = subprocess.run(
        command, env=dict(os.environ, LD_LIBRARY_PATH=library_path(root)), capture_output=True, text=True
    )
    if done.returncode != 0:
        raise LabError(f"QEMU does not start ({done.stderr.strip()}): run scripts/vm --refresh to fetch it again")


def _data_folders(root: Path) -> list[str]:
    folders = [root / "usr/share/qemu", root / "usr/share/seabios", root / "usr/lib/ipxe/qemu"]
    return [word for folder in folders for word in ("-L", str(folder))]


def _die_with_parent() -> None:
    """In the child, before exec: QEMU ends with the driver, even when the driver is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
