"""Which of the lab's knobs this machine has, beyond scheduler classes and memory (docs/knobs.md).

None is needed for anything but the experiments that turn it, so none that is missing is a failure.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from minicomp.doctor.finding import Finding, read_text

HELPER_SOCKET = "/run/minicomp-helper.socket"
CPUFREQ = Path("/sys/devices/system/cpu/cpufreq")


def check() -> Iterator[Finding]:
    """The root helper, idle latency, frequency governor, autogroup, utilization clamp."""
    yield _helper()
    yield _idle_latency()
    yield _governor()
    autogroup = read_text("/proc/sys/kernel/sched_autogroup_enabled")
    why = {"0": "off", "1": "on", None: "not in this kernel"}.get(autogroup, str(autogroup))
    yield Finding("autogroup", autogroup is not None, why, "a kernel with CONFIG_SCHED_AUTOGROUP")
    clamp = read_text("/proc/sys/kernel/sched_util_clamp_min")
    why = "there" if clamp is not None else "not in this kernel"
    yield Finding("utilization clamp", clamp is not None, why, "a kernel with CONFIG_UCLAMP_TASK")


def _helper() -> Finding:
    name = "root helper"
    todo = (
        "run minicomp as root, enable minicomp-helper.socket (configs/systemd), or let sudo start the helper without "
        "a password"
    )
    if os.geteuid() == 0:
        return Finding(name, True, "can be started: we are root")
    try:
        if stat.S_ISSOCK(os.stat(HELPER_SOCKET).st_mode):
            good = os.access(HELPER_SOCKET, os.W_OK)
            why = HELPER_SOCKET if good else f"{HELPER_SOCKET} is for its group only"
            return Finding(name, good, why, f"usermod -aG minicomp {os.environ.get('USER', 'USER')}, and log in again")
    except OSError:
        pass  # none was set up
    sudo = shutil.which("sudo")
    if sudo is None:
        return Finding(name, False, "we are not root; neither its socket nor sudo is here", todo)
    allowed = subprocess.run([sudo, "-n", "-l"], capture_output=True, text=True, timeout=10, check=False)
    good = allowed.returncode == 0 and "NOPASSWD" in allowed.stdout
    why = "sudo lets us without a password" if good else "sudo wants a password"
    return Finding(name, good, why, todo)


def _idle_latency() -> Finding:
    device = Path("/dev/cpu_dma_latency")
    states = sorted(Path("/sys/devices/system/cpu/cpu0/cpuidle").glob("state*"))
    if not device.exists():
        return Finding("idle latency (PM QoS)", False, f"no {device}", "a kernel with CONFIG_CPU_IDLE")
    names = ", ".join(read_text(str(state / "name")) or state.name for state in states)
    why = f"{device}; idle states: {names or 'none, the hypervisor decides'}"
    return Finding("idle latency (PM QoS)", True, why)


def _governor() -> Finding:
    policies = sorted(CPUFREQ.glob("policy*"))
    if not policies:
        return Finding("frequency governor", False, "no cpufreq here (a virtual machine?)", "set it on the host")
    chosen = sorted({read_text(str(policy / "scaling_governor")) or "unknown" for policy in policies})
    offered = read_text(str(policies[0] / "scaling_available_governors")) or "none"
    return Finding("frequency governor", True, f"{', '.join(chosen)}; offered: {offered}")
