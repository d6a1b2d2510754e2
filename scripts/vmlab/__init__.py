"""The VM lab: a guest with a real DRM/KMS display, booted on this tree.

`Guest` boots a Debian kernel under QEMU's software emulation over the host's own root file system (read-only
below a writable overlay), runs commands in it and acts on it from outside as a person would: looks at the
screen, types, points, plugs outputs and devices. `run_virtual_time` runs one command on QEMU's instruction
clock instead, for repeatable timing. `scripts/vm` is the command line of the same things.

Standard library only: it must run before anything of the project is built. docs/vm.md is the manual.
"""

from .errors import CommandTimeout, GuestDied, LabError
from .guest import Guest
from .process import Completed, GuestProcess
from .virtual_time import RealTime, VirtualRun, VirtualTime, run_virtual_time

__all__ = [
    "CommandTimeout",
    "Completed",
    "Guest",
    "GuestDied",
    "GuestProcess",
    "LabError",
    "RealTime",
    "VirtualRun",
    "VirtualTime",
    "run_virtual_time",
]
