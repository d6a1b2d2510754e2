"""BTF: whether it is there, its contents, and a program that finds a kernel structure's field by its name (CO-RE)."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from minicomp.lab.probes.bpf.programs import bpf_allowed, call, load, loaded
from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds
from minicomp.lab.probes.processes import slowness
from minicomp.lab.probes.requirements import linux, path, program
from minicomp.native.probes import lib

BTF = Path("/sys/kernel/btf/vmlinux")
_STRUCT, _TYPEDEF = 4, 8
# Bytes after the 12 of every type, by kind: (fixed, for each of its vlen members). Documentation/bpf/btf.rst.
_SIZES = {
    1: (4, 0), 2: (0, 0), 3: (12, 0), 4: (0, 12), 5: (0, 12), 6: (0, 8), 7: (0, 0), 8: (0, 0), 9: (0, 0), 10: (0, 0),
    11: (0, 0), 12: (0, 0), 13: (0, 8), 14: (4, 0), 15: (0, 12), 16: (0, 0), 17: (4, 0), 18: (0, 0), 19: (0, 12),
}  # fmt: skip


@dataclass(frozen=True)
class Structure:
    """One kernel structure: its size in bytes, and where each member begins."""

    size: int
    offsets: dict[str, int]


@dataclass(frozen=True)
class Btf:
    data: bytes
    structs: int
    names_at: int
    structs_at: dict[int, int]  # offset of the name -> offset of the type
    types_at: list[int]

    def structure(self, name: str) -> Structure:
        """KeyError when the kernel has none of that name. Members of unnamed unions and structures are its own."""
        wanted = self.data.find(b"\0" + name.encode() + b"\0", self.names_at) + 1 - self.names_at
        at = self.structs_at[wanted]
        offsets: dict[str, int] = {}
        self._members(at, 0, offsets)
        return Structure(struct.unpack_from("<III", self.data, at)[2], offsets)

    def _members(self, at: int, begin: int, offsets: dict[str, int]) -> None:
        _, info, _ = struct.unpack_from("<III", self.data, at)
        for name, kind, place in struct.iter_unpack("<III", self.data[at + 12 : at + 12 + (info & 0xFFFF) * 12]):
            offset = begin + (place & 0xFFFFFF if info >> 31 else place) // 8
            if name == 0:
                self._members(self.types_at[kind - 1], offset, offsets)  # types are numbered from 1
                continue
            end = self.data.index(b"\0", self.names_at + name)
            offsets[self.data[self.names_at + name : end].decode()] = offset


def read_btf(file: Path = BTF) -> Btf:
    data = file.read_bytes()
    magic, _version, _flags, header, types_at, types_size, names_at, _ = struct.unpack_from("<HBBIIIII", data)
    if magic != 0xEB9F:
        raise ValueError(f"{file}: magic {magic:#x} is not BTF's")
    at, end = header + types_at, header + types_at + types_size
    each_at, structs_at = [], {}
    unpack = struct.Struct("<II").unpack_from
    while at < end:
        name, info = unpack(data, at)
        each_at.append(at)
        kind = info >> 24 & 0x1F
        if kind == _STRUCT and name:
            structs_at[name] = at
        fixed, each = _SIZES[kind]
        at += 12 + fixed + each * (info & 0xFFFF)
    return Btf(data, len(structs_at), header + names_at, structs_at, each_at)


def measure_present(budget: Budget) -> Result:
    btf = read_btf()
    return holds(
        f"{BTF}: {len(btf.data)} bytes, {len(btf.types_at)} types, {btf.structs} named structures",
        Number.exact("size", len(btf.data), "bytes"),
        Number.exact("types", len(btf.types_at)),
    )


def measure_core(budget: Budget) -> Result:
    began = time.perf_counter()
    task = read_btf().structure("task_struct")
    finding_ms = (time.perf_counter() - began) * 1e3
    answers = {}
    for field in ("tgid", "prio"):
        with loaded(lib.MC_BPF_TASK_U32, number=task.offsets[field]) as fd:
            answers[field] = call(fd)
    with loaded(lib.MC_BPF_SELF) as fd:
        tgid = call(fd) >> 32
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    right = answers["tgid"] == tgid and (os.sched_getscheduler(0) != os.SCHED_OTHER or answers["prio"] == 120 + nice)
    where = ", ".join(f"{name} at {task.offsets[name]}" for name in answers)
    return holds(
        f"task_struct has {task.size} bytes here, {where}; relocated to these, the program reads tgid {answers['tgid']} "
        f"and prio {answers['prio']}, which {'are' if right else 'are NOT'} ours",
        Number.exact("finding the offsets", finding_ms, "ms"),
        when=right,
    )


def measure_checked(budget: Budget) -> Result:
    size = read_btf().structure("task_struct").size
    inside, _ = load(lib.MC_BPF_TASK_FIELD, number=0)
    if inside >= 0:
        os.close(inside)
    outside, log = load(lib.MC_BPF_TASK_FIELD, number=size)
    if outside >= 0:
        os.close(outside)
    said = [line for line in log.splitlines() if "task_struct" in line]
    return holds(
        f"a load at offset 0 of a typed task_struct pointer is {'accepted' if inside >= 0 else 'refused'}, one at its end "
        f"({size}) {'accepted' if outside >= 0 else 'refused'}: {said[-1] if said else log[-120:]!r}",
        when=inside >= 0 and outside < 0,
    )


def measure_printing(budget: Budget) -> Result:
    command = ["bpftool", "btf", "dump", "file", str(BTF), "format", "c"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=8 * slowness(), check=True).stdout
    shown = "struct task_struct {" in text
    return holds(
        f"bpftool prints {text.count(chr(10))} lines of C, task_struct {'' if shown else 'not '}among them", when=shown
    )


_HAS_BTF = path(str(BTF), "a kernel with CONFIG_DEBUG_INFO_BTF")
_USED = "trace.kernel = bpftrace needs it (lab/kernel/bpf.py refuses without); the default, tracefs, does not."

PROBES = (
    Probe(
        name="bpf-btf",
        section=8,
        statement="Check if the kernel has BTF (required for CO-RE): /sys/kernel/btf/vmlinux",
        method="The file is read and its types are walked.",
        used_by=_USED,
        requires=(_HAS_BTF,),
        measure=measure_present,
    ),
    Probe(
        name="bpf-core",
        section=8,
        statement="CO-RE: BPF programs reference kernel struct fields by name, not offset. The loader relocates offsets at "
        "load time using BTF information from the running kernel.",
        method="The offsets of task_struct's tgid and prio are looked up by name in BTF, put into a program, and what it "
        "reads of the current task is compared with what the process knows of itself.",
        used_by=_USED,
        requires=(_HAS_BTF, linux(5, 14, "BPF_PROG_TYPE_SYSCALL"), bpf_allowed),
        measure=measure_core,
    ),
    Probe(
        name="bpf-btf-checks",
        section=8,
        statement="Verifier type checking: the verifier uses BTF to ensure struct field accesses are valid.",
        method="A program gets a typed pointer to the current task_struct and loads from its first byte, then from behind "
        "its last.",
        used_by="Not directly: minicomp's own programs read arguments of tracepoints only.",
        requires=(_HAS_BTF, linux(5, 11, "bpf_get_current_task_btf"), bpf_allowed),
        measure=measure_checked,
    ),
    Probe(
        name="bpf-pretty-printing",
        section=8,
        statement="Pretty-printing: bpftool shows C struct definitions for all kernel types, and field names instead of raw "
        "bytes",
        method="bpftool btf dump of the kernel's BTF as C; task_struct has to be in it.",
        used_by="Not needed at run time.",
        requires=(_HAS_BTF, program("bpftool", "bpftool")),
        measure=measure_printing,
    ),
)
