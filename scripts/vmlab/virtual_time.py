"""One command on QEMU's instruction clock: 1 ns per instruction, idle time skipped, the same run every time.

No 9p, a fixed real-time clock and seed, no address randomization: nothing of the host's timing reaches the guest, so
clocks read in it advance by what it executes. It has one CPU unless asked for more: these run in turn on one thread,
each while the others stand still, which is good for what needs a second CPU to exist, not for timing. The numbers are
those of this emulated machine: they compare designs, they do not predict a kiosk's hardware.
QEMU: https://www.qemu.org/docs/master/devel/tcg-icount.html

`RealTime` boots the same image on the host's clock instead, for what an instruction clock cannot show: CPUs that
truly run at once, and a machine that is late by itself.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .errors import CommandTimeout, GuestDied, LabError
from .guest import ENVIRONMENT, TREE
from .initramfs import Archive
from .layers import MESA, QEMU, TOOLS, Kernel, LayerStore, Recipe, find_tool
from .qemu import Qemu, verify
from .timing_image import TimingImage, needs_python

CMDLINE = "console=ttyS0 quiet loglevel=3 nokaslr norandmaps panic=-1 rdinit=/init mitigations=off audit=0"
# DAMON_STAT (on in Debian's 7.x) looks every 5 ms which pages were accessed. A page is marked when QEMU takes it into
# its own TLB, and how large that is QEMU decides by the host's clock (accel/tcg/cputlb.c, tlb_mmu_resize_locked): so
# the host's time would change what the guest executes.
CMDLINE += " damon_stat.enabled=N"
# No devices to wait for; renderer threads and hash seeds that do not differ from run to run.
REPEATABLE = {
    "LP_NUM_THREADS": "0",
    "PATH": ENVIRONMENT["PATH"] + ":/usr/libexec",
    "PYTHONHASHSEED": "0",
    "SHELL": "/bin/sh",
    "WLR_LIBINPUT_NO_DEVICES": "1",
}
EXIT_TIMED_OUT = (124, 137, 143)  # busybox' timeout passes on how the command ended
# Busy guest time costs more than host time; idle guest time costs nothing.
HOST_SECONDS_PER_GUEST_SECOND = 10
BOOT_ALLOWANCE_S = 120
KVM_GAVE_UP = "KVM internal error"


@dataclass(frozen=True)
class RealTime:
    """The machine of a run on the host's clock."""

    cpus: int
    kvm: bool

    def __str__(self) -> str:
        return f"{'KVM' if self.kvm else 'software emulation'}, {self.cpus} CPUs"


@dataclass(frozen=True)
class VirtualRun:
    """What a run gave back. `files`: guest path -> content of the results that exist; `guest_s`: of the command."""

    code: int
    output: bytes
    guest_s: float
    host_s: float
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace")


class VirtualTime:
    """A prepared run: the image is built once, each `run` boots it anew and is the same run. A context manager."""

    def __init__(
        self,
        command: Sequence[str] | str,
        *,
        files: Sequence[str | Path] = (),
        programs: Sequence[str] = (),
        results: Sequence[str] = (),
        timeout_s: float = 60,
        memory: str = "2G",
        kernel: str | None = None,
        display: str = "bochs-display",
        cmdline: str = "",
        env: dict[str, str] | None = None,
        packages: Sequence[str] = (),
        gles2: bool = False,
        python: bool | None = None,
        khugepaged: bool = False,
        cpus: int = 1,
        real_time: RealTime | None = None,
        tree: Path = TREE,
        store: LayerStore | None = None,
    ) -> None:
        """`command` (a string goes through sh) with a time limit in guest seconds.

        `programs` (by name or path, with libraries) and `files` are put into the image beside the command's own
        program; `results` are absolute guest paths to bring back. `python` None: when the command looks like it.
        `khugepaged`: leave the kernel's collector of huge pages running (docs/vm.md says why it rests otherwise).
        `cpus`: on the instruction clock; `real_time` has its own.
        """
        store = store or LayerStore()
        tools, self._qemu_root = store.layer(TOOLS), store.layer(QEMU)
        layers = [tools, store.layer(MESA)]
        if packages:
            layers.append(store.layer(Recipe("extra", tuple(packages))))
        found_kernel = store.kernel(kernel)
        verify(self._qemu_root)
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        image = TimingImage(found_kernel, tree, layers, find_tool("busybox", tools))
        image.add_program("seatd")
        for program in programs:
            image.add_program(program)
        if not isinstance(command, str) and Path(words[0]).name not in ("sh", "busybox"):
            words[0] = image.add_program(words[0])
        for file in files:
            image.add((tree / file).absolute())
        if python or (python is None and needs_python([*words, *programs])):
            image.add_python()
        if gles2:
            image.add_gles2()
        _add_settings(image.archive, words, results, timeout_s, env or {}, tree, khugepaged)
        self._timeout_s = timeout_s
        self._host_limit_s = BOOT_ALLOWANCE_S + (1 if real_time else HOST_SECONDS_PER_GUEST_SECOND) * timeout_s
        self._folder = Path(tempfile.mkdtemp(prefix="minicomp-vm-"))
        self._arguments = _arguments(self._folder, found_kernel, memory, display, cmdline, _clock(cpus, real_time))
        try:
            image.write(self._folder / "initrd")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self) -> VirtualRun:
        begin_s = time.monotonic()
        _boot(self._qemu_root, self._folder, self._arguments, self._host_limit_s)
        return _read_result(self._folder, time.monotonic() - begin_s, self._timeout_s)


def run_virtual_time(command: Sequence[str] | str, **options: Any) -> VirtualRun:
    """Prepare and run once; options as of VirtualTime."""
    with VirtualTime(command, **options) as prepared:
        return prepared.run()


def _add_settings(
    archive: Archive,
    words: Sequence[str],
    results: Sequence[str],
    timeout_s: float,
    env: dict[str, str],
    tree: Path,
    khugepaged: bool,
) -> None:
    settings = {
        "LAB_CWD": str(tree),
        "LAB_KHUGEPAGED": "1" if khugepaged else "0",
        "LAB_TIMEOUT_S": f"{timeout_s:g}",
        "LAB_RESULTS": " ".join(result.partition("=")[0] for result in results),
    }
    environment = ENVIRONMENT | REPEATABLE | env
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
    archive.add_folder(str(tree))
    archive.add_data("lab.conf", "".join(f"{k}={shlex.quote(v)}\n" for k, v in settings.items()).encode())
    archive.add_data("command.sh", (exports + "exec " + shlex.join(words) + "\n").encode())


def _arguments(run: Path, kernel: Kernel, memory: str, display: str, cmdline: str, clock: list[str]) -> list[str]:
    arguments = ["-nodefaults", "-no-user-config", "-no-reboot", *clock, "-m", memory]
    arguments += ["-display", "none", "-vga", "none", "-device", display]
    arguments += ["-serial", f"file:{run}/console.log", "-serial", f"file:{run}/result.tar"]
    arguments += ["-kernel", str(kernel.image), "-initrd", str(run / "initrd")]
    return [*arguments, "-append", f"{CMDLINE} {cmdline}".strip()]


def _clock(cpus: int, real_time: RealTime | None) -> list[str]:
    """The CPUs and what their clocks count."""
    if real_time is None:
        virtual = ["-icount", "shift=0,sleep=off", "-rtc", "base=2026-01-01T00:00:00,clock=vm", "-seed", "1"]
        return ["-machine", "q35,accel=tcg", "-cpu", "max", "-smp", str(cpus), *virtual]
    accelerator = ["-accel", "kvm", "-cpu", "host"] if real_time.kvm else ["-accel", "tcg,thread=multi", "-cpu", "max"]
    return ["-machine", "q35", *accelerator, "-smp", str(real_time.cpus)]


def kvm_boots() -> bool:
    """Whether this machine's KVM boots the guest's kernel: some emulate what a stock kernel starts with, and fail."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    try:
        return run_virtual_time("true", timeout_s=30, real_time=RealTime(cpus=1, kvm=True)).code == 0
    except GuestDied:
        return False


def _boot(qemu_root: Path, run: Path, arguments: list[str], limit_s: float) -> None:
    qemu = Qemu(qemu_root, arguments, run / "qemu.log", run)
    end_s = time.monotonic() + limit_s
    try:
        while (code := qemu.wait(1)) is None:
            if KVM_GAVE_UP in qemu.messages():  # QEMU does not end then
                raise GuestDied("this machine's KVM does not boot the guest's kernel")
            if time.monotonic() > end_s:
                raise CommandTimeout(f"the run did not end within {limit_s:.0f} s of the host's time")
        if code != 0:
            raise GuestDied(f"QEMU failed: {qemu.messages()}")
    finally:
        qemu.stop()


def _read_result(run: Path, host_s: float, timeout_s: float) -> VirtualRun:
    try:
        with tarfile.open(run / "result.tar", ignore_zeros=True) as archive:
            contents = {
                member.name: file.read() for member in archive if (file := archive.extractfile(member)) is not None
            }
        code, begin, end = contents["result/status"].split()
    except (tarfile.TarError, KeyError, OSError) as error:
        tail = (run / "console.log").read_text(errors="replace").strip().splitlines()[-15:]
        raise GuestDied(f"the run gave no result ({error}): " + "\n".join(["", *tail])) from None
    guest_s = float(end) - float(begin)
    output = contents["result/output"]
    if int(code) in EXIT_TIMED_OUT and guest_s >= timeout_s:
        raise CommandTimeout(f"the command ran over its time limit of {timeout_s:g} s (guest time)", output)
    prefix = "result/files"
    files = {name.removeprefix(prefix): data for name, data in contents.items() if name.startswith(prefix + "/")}
    return VirtualRun(int(code), output, guest_s, host_s, files)


def store_results(run: VirtualRun, results: Sequence[str]) -> None:
    """Write "GUEST=HOST" results to their host files; a missing one is an error."""
    for result in results:
        guest_path, _, host_path = result.partition("=")
        if guest_path not in run.files:
            raise LabError(f"the command left no {guest_path}")
        Path(host_path or Path(guest_path).name).write_bytes(run.files[guest_path])
