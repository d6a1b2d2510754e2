"""The state of the machine around a run: what it is, how it is set, and what it did meanwhile.

`settings` is compared before and after (something that changed by itself spoils a run); `counters` only ever grow, and
their difference over the measured time says what was taken from us. A fact that the machine does not have is left out,
never guessed. Sources: proc(5), Documentation/accounting/psi.rst, Documentation/admin-guide/pm/cpufreq.rst,
Documentation/admin-guide/mm/transhuge.rst.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

CPUS = Path("/sys/devices/system/cpu")
SETTINGS = {
    "sched_autogroup_enabled": "/proc/sys/kernel/sched_autogroup_enabled",
    "sched_rt_runtime_us": "/proc/sys/kernel/sched_rt_runtime_us",
    "sched_ext": "/sys/kernel/sched_ext/state",
    "thp_enabled": "/sys/kernel/mm/transparent_hugepage/enabled",
    "thp_defrag": "/sys/kernel/mm/transparent_hugepage/defrag",
    "thp_shmem_enabled": "/sys/kernel/mm/transparent_hugepage/shmem_enabled",
    "swappiness": "/proc/sys/vm/swappiness",
    "clocksource": "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    "turbo_disabled": "/sys/devices/system/cpu/intel_pstate/no_turbo",
    "boost": "/sys/devices/system/cpu/cpufreq/boost",
    "smt": "/sys/devices/system/cpu/smt/control",
    "isolated_cpus": "/sys/devices/system/cpu/isolated",
    "cpus_online": "/sys/devices/system/cpu/online",
}
PF_KTHREAD = 0x00200000
"""include/linux/sched.h"""
STAT_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def host_id() -> str:
    """A name for this machine that stays: its host name and a hash of its machine id, which is nobody's business."""
    name = re.sub(r"[^A-Za-z0-9.-]", "-", platform.node()) or "host"
    machine = _text("/etc/machine-id")
    return f"{name}-{hashlib.sha256(machine.encode()).hexdigest()[:8]}" if machine else name


def facts() -> dict[str, Any]:
    """What the machine is; the same for every run of an experiment."""
    from minicomp import __version__

    memory = re.search(r"^MemTotal:\s+(\d+) kB", _text("/proc/meminfo"), re.MULTILINE)
    model = re.search(r"^model name\s*:\s*(.+)$", _text("/proc/cpuinfo"), re.MULTILINE)
    flaws = {path.name: _text(path) for path in sorted((CPUS / "vulnerabilities").glob("*"))}
    return {
        "host": host_id(),
        "kernel": platform.release(),
        "kernel_build": platform.version(),
        "cmdline": _text("/proc/cmdline"),
        "machine": platform.machine(),
        "cpu": model[1] if model else "",
        "cpus": os.cpu_count(),
        "memory_kib": int(memory[1]) if memory else None,
        "hypervisor": "hypervisor" in _text("/proc/cpuinfo"),
        "mitigations": "; ".join(f"{name}: {text}" for name, text in flaws.items() if text != "Not affected"),
        "python": platform.python_version(),
        "minicomp": __version__,
        "git": _git_describe(),
    }


def settings() -> dict[str, str]:
    """How the machine is set; anything that differs after a run has been changed by somebody."""
    found = {name: text for name, path in SETTINGS.items() if (text := _text(path))}
    governors = {_text(path) for path in CPUS.glob("cpu[0-9]*/cpufreq/scaling_governor")} - {""}
    if governors:
        found["governor"] = ",".join(sorted(governors))
    for path in sorted(Path("/sys/kernel/mm/transparent_hugepage").glob("hugepages-*kB/enabled")):
        found[f"mthp_{path.parent.name}"] = _text(path)
    scheduler = _text("/sys/kernel/sched_ext/root/ops")
    if scheduler:
        found["sched_ext_scheduler"] = scheduler
    return found


def moment() -> dict[str, Any]:
    """How busy and how warm the machine is right now; written down beside the settings, compared with nothing."""
    found: dict[str, Any] = {"load_1min": float((_text("/proc/loadavg") or "0").split()[0])}
    for resource in ("cpu", "memory", "io"):
        average = re.search(r"^some avg10=([\d.]+)", _text(f"/proc/pressure/{resource}"), re.M)
        if average:
            found[f"psi_{resource}_some_avg10"] = float(average[1])
    temperatures, frequencies = _temperatures(), _frequencies()
    if temperatures:
        found["hottest_c"] = max(temperatures.values())
    if frequencies:
        found["slowest_cpu_mhz"] = min(frequencies) / 1000
    return found


def counters() -> dict[str, Any]:
    """What has happened so far, with the time: CPU ticks (steal among them), pressure, throttling, temperature."""
    stat = _text("/proc/stat")
    ticks = [int(word) for word in stat.partition("\n")[0].split()[1:9]]
    return {
        "monotonic_ns": time.monotonic_ns(),
        "cpu_ticks": dict(zip(STAT_FIELDS, ticks, strict=False)),
        "context_switches": _number(stat, "ctxt"),
        "forks": _number(stat, "processes"),
        "pressure_us": {
            f"{resource}_{kind}": int(total)
            for resource in ("cpu", "memory", "io")
            for kind, total in re.findall(r"^(some|full) .*total=(\d+)", _text(f"/proc/pressure/{resource}"), re.M)
        },
        "thermal_throttles": _sum(CPUS.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")),
        "temperature_c": _temperatures(),
    }


def between(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The difference of two `counters`: shares of all CPU time, pressure, throttling, the hottest sensor."""
    ticks = {name: after["cpu_ticks"].get(name, 0) - count for name, count in before["cpu_ticks"].items()}
    total = sum(ticks.values()) or 1
    seconds = (after["monotonic_ns"] - before["monotonic_ns"]) / 1e9
    hottest = max((*before["temperature_c"].values(), *after["temperature_c"].values()), default=None)
    return {
        "seconds": round(seconds, 3),
        "cpu_share": {name: round(count / total, 4) for name, count in ticks.items()},
        "pressure_ms": {
            name: round((after["pressure_us"].get(name, start) - start) / 1000, 3)
            for name, start in before["pressure_us"].items()
        },
        "context_switches": after["context_switches"] - before["context_switches"],
        "forks": after["forks"] - before["forks"],
        "thermal_throttles": after["thermal_throttles"] - before["thermal_throttles"],
        "hottest_c": hottest,
    }


def ticks_of(groups: Collection[int], own_pid: int) -> dict[str, int]:
    """CPU ticks so far of these process groups and of this process ("own"), and of the kernel's threads ("kernel").

    Children that have ended and were waited for are in their parent's share (proc_pid_stat(5): cutime, cstime).
    """
    ticks = {"own": 0, "kernel": 0}
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = _text(path).rpartition(")")[2].split()
        if len(fields) < 15:
            continue  # it has just ended
        used = sum(int(field) for field in fields[11:15])
        if int(fields[2]) in groups or path.parent.name == str(own_pid):
            ticks["own"] += used
        elif int(fields[6]) & PF_KTHREAD:
            ticks["kernel"] += used
    return ticks


def others_share(during: dict[str, Any], before: dict[str, int], after: dict[str, int], cpus: int) -> float:
    """Which share of all CPU time programs had that are none of ours: neighbours on the machine.

    What the CPUs did, less our processes, the kernel's threads, interrupts, and the hypervisor's theft.
    """
    total = during["seconds"] * os.sysconf("SC_CLK_TCK") * cpus
    busy = sum(during["cpu_share"].get(name, 0.0) for name in ("user", "nice", "system"))
    known = sum(after[name] - before[name] for name in before) / total if total else 0.0
    return round(max(0.0, float(busy - known)), 4)


def changed(before: dict[str, str], after: dict[str, str]) -> dict[str, list[str]]:
    """Settings that are not what they were: name -> [before, after]."""
    names = sorted({*before, *after})
    return {name: [before.get(name, ""), after.get(name, "")] for name in names if before.get(name) != after.get(name)}


def thread_times(pid: int) -> dict[str, dict[str, int]]:
    """For each thread of a process: CPU time and time spent runnable but not running (ns), and how often it ran.

    /proc/PID/task/TID/schedstat, Documentation/scheduler/sched-stats.rst. Threads of one name are added up.
    """
    found: dict[str, dict[str, int]] = {}
    for task in Path(f"/proc/{pid}/task").glob("*"):
        name, numbers = _text(task / "comm"), _text(task / "schedstat").split()
        if name and len(numbers) == 3:
            times = found.setdefault(name, {"cpu_ns": 0, "waited_ns": 0, "turns": 0})
            for key, number in zip(times, numbers, strict=True):
                times[key] += int(number)
    return found


def thread_times_between(
    before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]
) -> dict[str, dict[str, int]]:
    """The difference, for threads that were there both times."""
    return {
        name: {key: after[name][key] - count for key, count in times.items()}
        for name, times in before.items()
        if name in after
    }


def _git_describe() -> str | None:
    """Which sources these are, where they are a git checkout."""
    if shutil.which("git") is None:
        return None
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--tags"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or None


def _temperatures() -> dict[str, float]:
    """Thermal zones in degrees; virtual machines have none."""
    found = {}
    for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*")):
        value = _text(zone / "temp")
        if value.lstrip("-").isdigit():
            found[f"{zone.name} {_text(zone / 'type')}"] = int(value) / 1000
    return found


def _frequencies() -> list[int]:
    paths = sorted(CPUS.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    return [int(value) for path in paths if (value := _text(path)).isdigit()]


def _sum(paths: Iterable[Path]) -> int:
    return sum(int(value) for path in paths if (value := _text(path)).isdigit())


def _number(stat: str, name: str) -> int:
    found = re.search(rf"^{name} (\d+)", stat, re.MULTILINE)
    return int(found[1]) if found else 0


def _text(path: str | Path) -> str:
    """A small file's text, stripped; "" where it is not there or not for us to read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\n\0 ")
    except OSError:
        return ""
