"""What the verifier accepts and refuses, with its words."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable

from minicomp.lab.probes.bpf.programs import RINGBUF, array, bpf_allowed, load, reason
from minicomp.lab.probes.calls import check
from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds
from minicomp.lab.probes.requirements import linux
from minicomp.native.probes import lib


def verdict(program: int, map_fd: int = -1, number: int = 0) -> tuple[bool, str]:
    """Whether it is accepted, and the verifier's reason if not."""
    fd, log = load(program, map_fd, number, log_level=4 if program == lib.MC_BPF_COUNT_TO else 1)
    if fd >= 0:
        os.close(fd)
        return True, ""
    return False, reason(log) or os.strerror(-fd)


def judged(wanted: Iterable[tuple[str, int, bool]], map_fd: int = -1) -> Result:
    """(what, program, whether it has to be accepted), one sentence each."""
    seen, right = [], True
    for what, program, accept in wanted:
        accepted, reason = verdict(program, map_fd)
        seen.append(f"{what}: " + ("accepted" if accepted else f'refused, "{reason}"'))
        right &= accepted == accept
    return holds("; ".join(seen), when=right)


def measure_loops(budget: Budget) -> Result:
    return judged(
        [("ten rounds", lib.MC_BPF_BOUNDED_LOOP, True), ("a jump to itself", lib.MC_BPF_UNBOUNDED_LOOP, False)]
    )


def measure_stack(budget: Budget) -> Result:
    return judged([("512 bytes below r10", lib.MC_BPF_STACK_512, True), ("520 bytes", lib.MC_BPF_STACK_520, False)])


def measure_bounds(budget: Budget) -> Result:
    with array(1) as map_fd:
        return judged(
            [("an index of any value into a map's element", lib.MC_BPF_INDEX_UNCHECKED, False),
             ("the same after a mask", lib.MC_BPF_INDEX_CHECKED, True),
             ("a look-up's result without a check for NULL", lib.MC_BPF_NULL_UNCHECKED, False)], map_fd
        )  # fmt: skip


def measure_helpers(budget: Budget) -> Result:
    with array(1) as map_fd:
        accepted, reason = verdict(lib.MC_BPF_INDEX_CHECKED, map_fd)
    seen = "a masked index into a map's element is loaded from directly, without a helper: "
    return holds(seen + ("accepted" if accepted else reason), when=not accepted)


def measure_freed(budget: Budget) -> Result:
    ring = check("bpf(BPF_MAP_CREATE)", lib.mc_bpf_map(RINGBUF, 4096, 0, 0))
    try:
        return judged(
            [("a ring buffer's record, read after it was submitted", lib.MC_BPF_USED_AFTER_SUBMIT, False)], ring
        )
    finally:
        os.close(ring)


def measure_confused(budget: Budget) -> Result:
    return judged([("a load from the number 4096", lib.MC_BPF_SCALAR_AS_POINTER, False)])


def measure_million(budget: Budget) -> Result:
    """A loop of two instructions is walked round by round: `number` rounds are 2 * number instructions."""
    numbers = []
    for rounds in (100_000, 490_000, 510_000):
        began = time.perf_counter()
        accepted, reason = verdict(lib.MC_BPF_COUNT_TO, number=rounds)
        numbers.append(
            Number.exact(f"verifying {rounds * 2:,} instructions", (time.perf_counter() - began) * 1e3, "ms")
        )
        if accepted != (rounds < 500_000):
            return holds(f"{rounds} rounds of two instructions: {reason or 'accepted'}", *numbers, when=False)
    return holds(f"980,000 verified instructions are accepted, 1,020,000 refused: {reason}", *numbers)


_TYPES = {
    "PTR_TO_CTX": r"R1(?:_w)?=ctx",
    "PTR_TO_STACK": r"R10=fp",
    "PTR_TO_MAP_VALUE": r"R0(?:_w)?=map_value\(",
    "SCALAR_VALUE": r"R1(?:_w)?=(?:scalar|inv|P?\d)",
    "PTR_TO_BTF_ID": r"R0(?:_w)?=(?:trusted_)?ptr_task_struct",
}


def measure_types(budget: Budget) -> Result:
    with array(1) as map_fd:
        logs = [load(lib.MC_BPF_INDEX_CHECKED, map_fd, log_level=2), load(lib.MC_BPF_TASK_FIELD, log_level=2)]
    text = "\n".join(log for _, log in logs)
    for fd, _ in logs:
        if fd >= 0:
            os.close(fd)
    found = {name: match.group() for name, pattern in _TYPES.items() if (match := re.search(pattern, text))}
    return holds(
        "in the verifier's log: " + ", ".join(f"{name} as {words}" for name, words in found.items()),
        Number.exact("types seen", len(found)),
        when=len(found) == len(_TYPES),
    )


_USED = "trace.kernel = bpftrace has its program verified at each start; minicomp's own programs are these probes'."


def _probe(
    name: str, statement: str, method: str, measure: Callable[[Budget], Result], major: int, minor: int
) -> Probe:
    return Probe(
        name=name, section=8, statement=statement, method=method, used_by=_USED, measure=measure,
        requires=(linux(major, minor, "this"), bpf_allowed),
    )  # fmt: skip


PROBES = (
    _probe("bpf-loops", "No backward jumps except bounded loops (since 5.3)",
           "A loop of ten rounds and one without an end are loaded.", measure_loops, 5, 3),
    _probe("bpf-stack", "Stack depth check: max 512 bytes of stack per program",
           "Programs that store 8 bytes at r10-512 and at r10-520 are loaded.", measure_stack, 4, 1),
    _probe("bpf-million", "Instruction count check: max 1 million verified instructions (since 5.2)",
           "A loop of two instructions, whose rounds the verifier walks one by one, below and above 500,000 rounds; "
           "how long verifying takes.", measure_million, 5, 3),
    _probe("bpf-out-of-bounds", "The verifier rejects any program where a pointer could be dereferenced out of bounds",
           "A byte of a map's element is loaded at an index from the context, masked and not; and an element is used "
           "without asking whether it was found.", measure_bounds, 4, 9),
    _probe("bpf-only-helpers", "Memory safety check: all pointer dereferences go through BPF helpers with bounds checks",
           "A load from a map's element by an instruction, whose bounds the verifier knows from a mask. Holds: it is "
           "refused.", measure_helpers, 4, 9),
    _probe("bpf-freed", "The verifier rejects a pointer used after its containing map element is freed",
           "A record of a ring buffer is submitted (from then on it is not the program's), then read.",
           measure_freed, 5, 8),
    _probe("bpf-type-confusion", "The verifier rejects a pointer confused with a scalar (type confusion)",
           "A load from a constant address.", measure_confused, 4, 1),
    _probe("bpf-register-types", "The verifier tracks register types through every execution path: SCALAR_VALUE, PTR_TO_CTX, "
           "PTR_TO_MAP_VALUE, PTR_TO_STACK, PTR_TO_BTF_ID",
           "Two programs that have each of them are loaded with the log of every state; the types are looked for in it.",
           measure_types, 5, 11),
)  # fmt: skip
