"""What probes need of a machine, each as a call that says what is missing (for `Probe.requires`)."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from minicomp.lab.probes.probe import Missing, Requirement


def kernel_version() -> tuple[int, int]:
    major, minor = platform.release().split("-")[0].split(".")[:2]
    return int(major), int(minor)


def linux(major: int, minor: int, what: str) -> Requirement:
    """A kernel at least this new, for `what`."""

    def check() -> Missing | None:
        if kernel_version() >= (major, minor):
            return None
        return Missing(
            f"{what} came with Linux {major}.{minor}; this is {platform.release()}", f"Linux {major}.{minor}"
        )

    return check


def cpus(count: int) -> Requirement:
    """CPUs that this process may run on."""

    def check() -> Missing | None:
        have = len(os.sched_getaffinity(0))
        return None if have >= count else Missing(f"only {have} CPU to run on", f"{count} CPUs")

    return check


def root() -> Missing | None:
    return None if os.geteuid() == 0 else Missing("not run as root", "root")


def path(name: str, needed: str) -> Requirement:
    """A file or folder, typically under /sys or /proc."""

    def check() -> Missing | None:
        return None if Path(name).exists() else Missing(f"{name} is not there", needed)

    return check


def program(name: str, package: str) -> Requirement:
    def check() -> Missing | None:
        return None if shutil.which(name) else Missing(f"{name} is not installed", f"the package {package}")

    return check


def cards() -> list[Path]:
    """The displays' devices."""
    return sorted(Path("/dev/dri").glob("card*"))


def has_card() -> Missing | None:
    return None if cards() else Missing("no /dev/dri/card*", "a display: the VM has one (docs/vm.md)")


def x86_64(what: str) -> Requirement:
    """That architecture, whose `what` a probe knows."""

    def check() -> Missing | None:
        machine = platform.machine()
        return None if machine == "x86_64" else Missing(f"{what}: not known of {machine}", "x86_64")

    return check
