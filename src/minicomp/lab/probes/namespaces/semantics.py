"""What a process in new namespaces is, and what it may."""

from __future__ import annotations

import os
import socket
import subprocess
from functools import partial
from pathlib import Path

from minicomp.lab.probes.bpf.structures import compare, has_btf
from minicomp.lab.probes.namespaces.spaces import FLAGS, allowed, unshare, user_allowed
from minicomp.lab.probes.probe import Budget, Number, Probe, Result, holds
from minicomp.lab.probes.processes import answer_of, drop_root
from minicomp.lab.probes.requirements import program

NSPROXY = ("uts", "ipc", "mnt", "pid_for_children", "net", "cgroup", "time_for_children")
"""What struct nsproxy points to; the user namespace belongs to the credentials."""


def spaces_of() -> dict[str, str]:
    found = {}
    for name in os.listdir("/proc/self/ns"):
        try:
            found[name] = os.readlink(f"/proc/self/ns/{name}")
        except FileNotFoundError:
            found[name] = "no process in it yet"  # a new pid namespace for children
    return found


def measure_nsproxy(budget: Budget) -> Result:
    before = spaces_of()
    unshare("uts", "pid")
    after = spaces_of()
    changed = sorted(name for name in after if after[name] != before.get(name))
    seen = f"{len(before)} links in /proc/self/ns; after unshare of uts and pid others: {', '.join(changed)}"
    whole = all(name in before for name in NSPROXY)
    return holds(seen + ": the process' own pid namespace stays", when=whole and changed == ["pid_for_children", "uts"])


def measure_first_process(budget: Budget) -> Result:
    unshare("mnt", "pid")
    code, first = answer_of(os.getpid)
    own = os.getpid()
    return holds(
        f"the process itself stays {own}, its next child is {first}", when=code == 0 and first == "1" and own != 1
    )


def measure_clone(budget: Budget) -> Result:
    outside = len(socket.if_nameindex())
    unshare("pid", "net")
    code, said = answer_of(lambda: f"{os.getpid()} {','.join(name for _, name in socket.if_nameindex())}")
    pid, _, names = said.partition(" ")
    seen = f"the child is process {pid} and has the network interfaces {names} (outside there are {outside})"
    return holds(seen, when=code == 0 and pid == "1" and "lo" in names.split(","))


def measure_stack(budget: Budget) -> Result:
    """From a namespace of our own with a route in it: a machine without a network has none that could be copied."""
    unshare("net")
    for words in ("link set lo up", "route add 10.214.0.0/24 dev lo"):
        subprocess.run(["ip", *words.split()], check=True, capture_output=True)
    rules_outside = _routes()
    shared = Path("/proc/sys/net/ipv4/tcp_ehash_entries")
    unshare("net")
    rules = _routes()
    table = int(shared.read_text()) if shared.exists() else 0
    seen = f"routes outside {rules_outside}, in the new namespace {rules}: it begins empty, nothing is copied"
    if table:
        seen += f"; TCP's hash table of {abs(table):,} is {'the first one, shared' if table < 0 else 'its own'}"
    return holds(
        seen, Number.exact("routes outside", rules_outside), Number.exact("routes inside", rules), when=rules > 0
    )


def _routes() -> int:
    return max(0, len(Path("/proc/self/net/route").read_text().splitlines()) - 1)


def measure_user(budget: Budget) -> Result:
    drop_root()
    outside = os.geteuid(), os.getegid()
    unshare("user")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {outside[0]} 1")
    Path("/proc/self/gid_map").write_text(f"0 {outside[1]} 1")
    inside = os.geteuid()
    refused = False
    try:
        os.setresuid(1, 1, 1)
    except OSError:
        refused = True
    seen = f"user {outside[0]} outside is {inside} inside, and may {'not ' if refused else ''}become a user who is not mapped"
    return holds(seen, when=outside[0] != 0 and inside == 0 and refused)


def measure_others(budget: Budget) -> Result:
    drop_root()
    outside = os.geteuid()
    without = {kind: answer_of(partial(unshare, kind))[0] for kind in FLAGS if kind != "user"}
    unshare("user")
    within = {kind: answer_of(partial(unshare, kind))[0] for kind in FLAGS if kind != "user"}
    refused = [kind for kind, code in without.items() if code]
    made = [kind for kind, code in within.items() if not code]
    seen = f"user {outside} is refused {', '.join(refused)}; in a user namespace of its own it may create {', '.join(made)}"
    return holds(seen, when=len(refused) == 7 and len(made) == 7)


_SANDBOX = (
    "[app] sandbox = true: bubblewrap makes a user namespace and, in it, the others; no root and no setuid program."
)

PROBES = (
    Probe(
        name="namespace-nsproxy",
        section=7,
        statement="Every process has a struct nsproxy containing pointers to its namespaces: uts, ipc, mnt, pid, net, cgroup, time",
        method="The links in /proc/self/ns before and after unshare(CLONE_NEWUTS | CLONE_NEWPID).",
        used_by=_SANDBOX,
        requires=(partial(allowed, "uts", "pid"),),
        measure=measure_nsproxy,
    ),
    Probe(
        name="namespace-unshare",
        section=7,
        statement="unshare(CLONE_NEWNS | CLONE_NEWPID); next fork() will be PID 1 in the new PID namespace",
        method="The same call; then a child is asked for its number, and the process for its own.",
        used_by=_SANDBOX,
        requires=(partial(allowed, "mnt", "pid"),),
        measure=measure_first_process,
    ),
    Probe(
        name="namespace-clone",
        section=7,
        statement="Create a child process with new PID and network namespaces",
        method="By unshare and fork; the child is asked for its number and its network interfaces.",
        used_by=_SANDBOX,
        requires=(partial(allowed, "pid", "net"),),
        measure=measure_clone,
    ),
    Probe(
        name="namespace-net-stack",
        section=7,
        statement="they duplicate the entire network stack (routing table, iptables rules, socket hash tables)",
        method="Routes in /proc/net/route of a namespace that was given one, and of a new one made from there; and net.ipv4.tcp_ehash_entries, which is negative where the "
        "first namespace's table is shared. Holds: the new one has routes.",
        used_by="[app] sandbox: an app without network sees not even the host's routes.",
        requires=(program("ip", "iproute2"), partial(allowed, "net")),
        measure=measure_stack,
    ),
    Probe(
        name="namespace-user-root",
        section=7,
        statement="Inside the user namespace, the process is uid 0 (root), but the kernel maps this to an unprivileged uid outside",
        method="As nobody: unshare(CLONE_NEWUSER), uid_map and gid_map are written, the uid is asked for, and another user that is not "
        "mapped is tried.",
        used_by=_SANDBOX,
        requires=(user_allowed,),
        measure=measure_user,
    ),
    Probe(
        name="namespace-user-others",
        section=7,
        statement="User namespaces (kernel 3.8+) allow unprivileged users to create all other namespace types.",
        method="As nobody: unshare of each of the other seven kinds, first without and then in a user namespace of its own.",
        used_by=_SANDBOX,
        requires=(user_allowed,),
        measure=measure_others,
    ),
    Probe(
        name="namespace-structure",
        section=7,
        statement="struct nsproxy { uts_ns, ipc_ns, mnt_ns, pid_ns, net_ns, cgroup_ns, time_ns }",
        method="The structure's fields by name, in the running kernel's BTF.",
        used_by=_SANDBOX,
        requires=(has_btf,),
        measure=compare(
            "nsproxy",
            ("uts_ns", "ipc_ns", "mnt_ns", "pid_ns", "net_ns", "cgroup_ns", "time_ns"),
            {"pid_ns": "pid_ns_for_children"},
        ),
    ),
)
