"""io_uring on files and devices: reads from storage, DRM's ioctls, and who may use it at all."""

from __future__ import annotations

import mmap
import os
import random
import tempfile
from pathlib import Path

from minicomp.lab.probes.calls import check
from minicomp.lab.probes.io_uring.ring import allowed
from minicomp.lab.probes.probe import Basis, Budget, Number, Probe, Result, cannot_test, holds, near
from minicomp.lab.probes.requirements import has_card, linux
from minicomp.native.probes import ffi, lib

FILE_BYTES, BLOCK, DEPTH = 32 << 20, 4096, 32
CLEARLY = 1.5
SETTING = Path("/proc/sys/kernel/io_uring_disabled")
SETTING_MEANS = {"0": "everybody may use it", "1": "only a group and root may", "2": "nobody may"}


def _read_from_storage() -> int:
    """Bytes that this process has had read from a device until now, the cache left out."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["read_bytes"])


def _blocks(fd: int, offsets: list[int], depth: int) -> tuple[float, float]:
    """us a block: until it was there, and of CPU time."""
    ns, cpu_ns = ffi.new("uint64_t *"), ffi.new("uint64_t *")
    check("reading", lib.mc_probe_read_blocks(fd, offsets, len(offsets), BLOCK, depth, ns, cpu_ns))
    return ns[0] / len(offsets) / 1e3, cpu_ns[0] / len(offsets) / 1e3


def measure_storage(budget: Budget) -> Result:
    """O_DIRECT, so that it is the storage and not the page cache; a file system without it says so."""
    with tempfile.NamedTemporaryFile() as file:
        written = mmap.mmap(-1, 1 << 20)  # zeros in the file could be holes
        written.write(os.urandom(1 << 20))
        for _ in range(FILE_BYTES >> 20):
            os.write(file.fileno(), written)
        os.fsync(file.fileno())
        try:
            fd = os.open(file.name, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECT)
        except OSError:
            return cannot_test(f"{tempfile.gettempdir()} has no O_DIRECT", "a file system on storage (TMPDIR)")
        try:
            samples: dict[int, list[float]] = {0: [], DEPTH: []}
            cpu: dict[int, list[float]] = {0: [], DEPTH: []}
            chance, before, asked = random.Random(1), _read_from_storage(), 0
            for _ in range(budget.pick(5, 20)):
                offsets = [chance.randrange(FILE_BYTES // BLOCK) * BLOCK for _ in range(budget.pick(256, 1024))]
                for depth in samples:
                    us, cpu_us = _blocks(fd, offsets, depth)
                    samples[depth].append(us)
                    cpu[depth].append(cpu_us)
                    asked += len(offsets) * BLOCK
                if budget.spent:
                    break
            if _read_from_storage() - before < asked / 2:  # a page of a program may have been read meanwhile
                return cannot_test(f"{tempfile.gettempdir()} is in memory", "a file system on storage (TMPDIR)")
        finally:
            os.close(fd)
    plain, ringed = (
        Number.of("4 KiB by pread(2)", "us", samples[0]),
        Number.of(f"4 KiB by io_uring, {DEPTH} in flight", "us", samples[DEPTH]),
    )
    times = plain.value / ringed.value
    return holds(
        f"random blocks of 4 KiB from storage: {plain.value:.1f} us each by pread(2), {ringed.value:.1f} us by io_uring with "
        f"{DEPTH} in flight, {times:.1f} times as many",
        plain,
        ringed,
        Number.of("CPU a block, pread(2)", "us", cpu[0]),
        Number.of("CPU a block, io_uring", "us", cpu[DEPTH]),
        when=times > CLEARLY,
        doubt=near("the ratio", times, CLEARLY),
    )


def measure_drm(budget: Budget) -> Result:
    answers = {}
    for device in sorted(Path("/dev/dri").glob("*[0-9]")):
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        try:
            answers[device.name] = lib.mc_uring_command(fd)
        finally:
            os.close(fd)
    words = ", ".join(f"{name}: {os.strerror(-code) if code < 0 else 'taken'}" for name, code in answers.items())
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        control = lib.mc_uring_command(null)
    finally:
        os.close(null)
    seen = f"IORING_OP_URING_CMD to {words}; to /dev/null, whose driver has it: {'taken' if control == 0 else os.strerror(-control)}"
    return holds(seen, when=all(code >= 0 for code in answers.values()))


def measure_hardening(budget: Budget) -> Result:
    has = lib.mc_uring_has(0) >= 0
    if SETTING.exists():
        value = SETTING.read_text().strip()
        seen = (
            f"kernel.io_uring_disabled, the switch that Linux 6.6 brought, is {value}: {SETTING_MEANS.get(value, '?')}"
        )
    else:
        seen = "no kernel.io_uring_disabled (Linux 6.6)"
    return holds(f"{seen}; we {'may' if has else 'may not'}", when=SETTING.exists() or not has)


PROBES = (
    Probe(
        name="io-uring-storage",
        section=6,
        statement="The real win is for storage-heavy workloads (database, logging).",
        method=f"Random blocks of 4 KiB are read from a file of {FILE_BYTES >> 20} MiB with O_DIRECT, one by one by pread(2) "
        f"and {DEPTH} at a time by io_uring, in turn. Holds: io_uring reads {CLEARLY:g} times as many in the same time.",
        used_by="Not used: minicomp reads no files in a frame; its trace is written by a thread that nobody waits for.",
        requires=(allowed,),
        measure=measure_storage,
        basis=Basis.COMPARED,
    ),
    Probe(
        name="io-uring-drm-ioctls",
        section=6,
        statement="Compositor use: could batch DRM ioctls, file I/O",
        method="IORING_OP_URING_CMD, which is what an ioctl is in io_uring, is given to each device in /dev/dri, and as a "
        "control to /dev/null. Holds: DRM takes it. (Batches of file reads: io-uring-storage.)",
        used_by="Not used: a frame is one atomic commit, one ioctl (frame-syscalls counts them).",
        requires=(linux(6, 2, "IORING_OP_URING_CMD of /dev/null"), allowed, has_card),
        measure=measure_drm,
    ),
    Probe(
        name="io-uring-hardening",
        section=6,
        statement="Maturity: epoll battle-tested; io_uring newer, ongoing security hardening",
        method="Of a judgement, what can be seen: the switch that turns it off, and whether this process may use it.",
        used_by="loop.wait = epoll is the default; a kernel or container that refuses io_uring is said at the start.",
        measure=measure_hardening,
    ),
)
