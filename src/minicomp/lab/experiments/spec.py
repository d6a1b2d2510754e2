"""What an experiment file says: the tables of the TOML, their types, limits and defaults.

An arm is a piece of configuration laid over [base], which is laid over the defaults; both are given as a configuration
file would. Structs are frozen. `docs/lab.md` explains each table; durations are seconds.
"""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from minicomp.config.validation import Meta, Struct

NAME_WORDS = 'a name of lower-case letters, digits and ".+_-", up to 40 characters'
Name = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9.+_-]{0,39}$",
        description=NAME_WORDS,
    ),
]
Seconds = Annotated[float, Meta(ge=0, le=86_400, description="seconds, 0 to 86400")]
Duration = Annotated[float, Meta(ge=0.2, le=86_400, description="seconds, 0.2 to 86400")]
Count = Annotated[int, Meta(ge=1, le=10_000, description="1 to 10000")]
Command = Annotated[
    tuple[str, ...],
    Meta(min_length=1, description='a program and its arguments, for example ["pulse", "--fullscreen"]'),
]
Share = Annotated[float, Meta(ge=0, le=1, description="a share, 0 to 1")]

LoadKind = Literal["cpu", "memory", "pagecache", "fork", "client", "stress-ng"]
Backend = Literal["auto", "headless", "drm"]


class Table(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the experiment file."""


class Schedule(Table, frozen=True):
    """How much is measured. Every block holds each arm `repetitions` times, in an order of its own."""

    warmup_s: Seconds = 2.0  # runs, but is not counted: pacing settles, caches fill
    measure_s: Duration = 15.0
    settle_s: Seconds = 0.5  # rest between runs, with nothing running
    blocks: Count = 10
    repetitions: Count = 1


class QuickSchedule(Table, frozen=True):
    """What `--quick` takes instead: another Schedule, with other defaults.

    Many short runs, since intervals come from how runs differ: two blocks tell next to nothing apart, however long.
    """

    warmup_s: Seconds = 1.0
    measure_s: Duration = 2.0
    settle_s: Seconds = 0.2
    blocks: Count = 6
    repetitions: Count = 1


class Client(Table, frozen=True):
    """A Wayland client whose frames are measured. `command[0]`: one of ours (build/clients), or any program."""

    command: Command
    count: Count = 1
    env: dict[str, str] = {}


class Load(Table, frozen=True):
    """What else the machine does meanwhile. Its windows, if it has any, are not measured."""

    kind: LoadKind
    count: Count | Literal["cpus"] = "cpus"  # processes; "cpus": one for each CPU that is online
    arguments: tuple[str, ...] = ()  # of `build/clients/load KIND`, or of stress-ng
    command: tuple[str, ...] = ()  # client only: as of [[client]]
    arms: tuple[Name, ...] = ()  # only with these arms; empty: with all

    def __post_init__(self) -> None:
        if self.kind == "client" and not self.command:
            raise ValueError('a load of kind "client" needs a command')
        if self.kind != "client" and self.command:
            raise ValueError('only a load of kind "client" has a command; others take arguments')
        if self.kind == "stress-ng" and not self.arguments:
            raise ValueError('a load of kind "stress-ng" needs arguments, for example ["--vm", "1"]')

    @property
    def processes(self) -> int:
        if self.count == "cpus":
            return 1 if self.kind in ("client", "stress-ng") else os.cpu_count() or 1
        return self.count


class Validity(Table, frozen=True):
    """From when on a run counts as disturbed."""

    max_steal_share: Share = 0.02  # of all CPU time, taken by the hypervisor
    max_others_share: Share = 0.10  # of all CPU time, had by programs that the experiment did not start
    min_frame_share: Share = 0.1  # of the vblanks in the measured time, with a frame of a measured client
    # A deadline thread that was throttled has had its treatment, badly: to leave the run out would flatter it.
    throttled: Literal["keep", "leave-out"] = "keep"


class Arm(Table, frozen=True):
    """One treatment: dotted configuration keys and their values, as `minicomp run --set` takes them."""

    name: Name
    settings: dict[str, Any]
    about: str = ""


class Experiment(Table, frozen=True):
    """A whole experiment. `settings` of each arm include those of [base]."""

    name: Name
    question: str
    arms: tuple[Arm, ...]
    clients: tuple[Client, ...]
    loads: tuple[Load, ...]
    schedule: Schedule
    quick: Schedule
    validity: Validity
    backend: Backend = "headless"
    seed: int = 1
    baseline: str = ""  # the arm that others are compared with

    def arm(self, name: str) -> Arm:
        return next(arm for arm in self.arms if arm.name == name)

    def loads_of(self, arm: str) -> tuple[Load, ...]:
        """What else the machine does in that arm's runs."""
        return tuple(load for load in self.loads if not load.arms or arm in load.arms)


class ExperimentFile(Table, frozen=True, rename={"arms": "arm", "clients": "client", "loads": "load"}):
    """The file as written; `read` turns it into an Experiment."""

    name: Name
    arms: dict[str, dict[str, Any]]
    clients: Annotated[tuple[Client, ...], Meta(min_length=1, description="at least one [[client]]")]
    question: str = ""
    backend: Backend = "headless"
    seed: Annotated[int, Meta(ge=0, description="a whole number")] = 1
    baseline: str = ""
    schedule: Schedule = Schedule()
    quick: QuickSchedule = QuickSchedule()
    validity: Validity = Validity()
    loads: tuple[Load, ...] = ()
    base: dict[str, Any] = {}
