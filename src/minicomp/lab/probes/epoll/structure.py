"""epoll's own structure in the kernel."""

from __future__ import annotations

from minicomp.lab.probes.bpf.structures import compare, has_btf
from minicomp.lab.probes.probe import Probe

PROBES = (
    Probe(
        name="epoll-structure",
        section=5,
        statement="struct eventpoll: .rbr red-black tree of monitored fds, .rdllist ready list, .wq wait queue, .poll_wait "
        "used for nested epoll",
        method="The structure's fields by name, in the running kernel's BTF.",
        used_by="libwayland's loop is one; the loop thread's own watches its fd.",
        requires=(has_btf,),
        measure=compare("eventpoll", ("rbr", "rdllist", "wq", "poll_wait"), {}),
    ),
)
