"""Does an experiment: run after run as planned, each judged and written down before the next begins.

What has a record in the folder is not done again, so a killed experiment goes on where it was. An arm that the machine
refuses (exit code 69 of the compositor) is tried once; its other runs are recorded as untreated with the same reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from minicomp.config.validation import convert, to_builtins
from minicomp.errors import MinicompError
from minicomp.lab.experiments import host
from minicomp.lab.experiments.folder import COLLECTED, Folder, write_json
from minicomp.lab.experiments.plan import Plan, Run
from minicomp.lab.experiments.session import Session, run_session
from minicomp.lab.experiments.spec import Arm, Experiment
from minicomp.lab.experiments.validity import FAILED, OK, UNTREATED, Judgement, judge, judge_session

GIVE_UP_AFTER = 3
"""Failures in a row from the start on: something is wrong with the machine or the file, not with an arm."""


class Options(NamedTuple):
    backend: str
    keep_traces: bool = False
    collect_only: bool = False


class Watcher(Protocol):
    """Who is told how far it is."""

    def begins(self, run: Run) -> None: ...
    def tick(self) -> None: ...
    def ended(self, run: Run, record: dict[str, Any], *, new: bool) -> None: ...


def run_experiment(experiment: Experiment, plan: Plan, folder: Folder, options: Options, watcher: Watcher) -> None:
    """Does every run that has no record yet. Raises MinicompError when nothing works."""
    machine = host.facts()
    refused: dict[str, tuple[Run, str]] = {}
    kept = {run.arm for run in plan.runs if (folder.record(run) or {}).get("status") == OK}
    failures, works = 0, False
    for run in plan.runs:
        record = folder.record(run)
        new = record is None or (record["status"] == COLLECTED and not options.collect_only)
        if record is None or new:
            watcher.begins(run)
            measured_on = machine
            if record is not None:
                session, measured_on = convert(record["session"], Session, strict=False), record["machine"]
            elif run.arm in refused:
                session = _not_again(*refused[run.arm])
            else:
                session = _do(experiment, plan, run, folder, options, watcher.tick)
            record = _evaluate(experiment, plan, run, session, folder, options, measured_on)
        if record["status"] == UNTREATED and record["session"]["refused"]:
            refused.setdefault(run.arm, (run, record["session"]["refused"]))
        works = works or record["status"] != FAILED
        failures = failures + 1 if record["status"] == FAILED else 0
        if new:
            _drop_trace(run, record, folder, options, kept)
        watcher.ended(run, record, new=new)
        if not works and failures >= GIVE_UP_AFTER:
            raise MinicompError(
                f"the first {failures} runs failed: {record['reasons'][0]}",
                where=str(folder.log_path(run)),
                todo="see that log; --resume goes on with the next runs",
            )


def _do(
    experiment: Experiment, plan: Plan, run: Run, folder: Folder, options: Options, tick: Callable[[], None]
) -> Session:
    time.sleep(plan.schedule.settle_s)
    return run_session(
        experiment,
        experiment.arm(run.arm),
        plan.schedule,
        backend=options.backend,
        trace=folder.trace_path(run),
        log_path=folder.log_path(run),
        tick=tick,
    )


def _not_again(first: Run, reason: str) -> Session:
    return Session(refused=f"not tried again after run {first.number}: {reason}")


def _evaluate(
    experiment: Experiment,
    plan: Plan,
    run: Run,
    session: Session,
    folder: Folder,
    options: Options,
    machine: dict[str, Any],
) -> dict[str, Any]:
    """The run's record, written; with the table, unless only run files are collected."""
    arm = experiment.arm(run.arm)
    judgement = judge_session(session)
    counts: dict[str, Any] = {}
    facts: dict[str, Any] = {"knobs": []}
    if judgement is None:
        if options.collect_only:
            judgement = Judgement(COLLECTED)
        else:
            judgement, counts, facts = _tabulate(experiment, run, arm, session, folder, machine)
    record = {
        "experiment": experiment.name,
        "number": run.number,
        "block": run.block,
        "arm": run.arm,
        "status": judgement.status,
        "reasons": list(judgement.reasons),
        "notes": list(judgement.notes),
        "settings": arm.settings,
        "effects": facts.pop("knobs"),
        "loads": [to_builtins(load) for load in experiment.loads_of(run.arm)],
        "clients": [to_builtins(client) for client in experiment.clients],
        "schedule": to_builtins(plan.schedule),
        "counts": counts,
        "run_file": facts,
        "host": {
            "before": {**machine, **session.settings_before, **session.moment_before},
            "after": {**machine, **session.settings_after, **session.moment_after},
            "during": session.during,
        },
        "threads": session.threads,
        "machine": machine,
        "session": to_builtins(session, str_keys=True),
    }
    write_json(folder.record_path(run), record)
    return record


def _tabulate(
    experiment: Experiment, run: Run, arm: Arm, session: Session, folder: Folder, machine: dict[str, Any]
) -> tuple[Judgement, dict[str, Any], dict[str, Any]]:
    from minicomp.lab.experiments.results import write_parquet
    from minicomp.lab.experiments.rows import count, facts_of, frame_rows
    from minicomp.lab.kernel.reader import read_beside
    from minicomp.lab.pipeline.runfile import read_run

    traced = read_run(folder.trace_path(run))
    kernel = read_beside(folder.trace_path(run))
    facts = facts_of(traced)
    columns = frame_rows(traced, session.begin_ns, session.end_ns, session.clients, session.loads.keys(), kernel)
    counts = count(traced, columns, session.begin_ns, session.end_ns)
    judgement = judge(session, facts, counts, arm, experiment.validity)
    identity = {
        "experiment": experiment.name,
        "host": machine["host"],
        "arm": run.arm,
        "block": run.block,
        "run": run.number,
        "status": judgement.status,
    }
    about = {
        **identity,
        "reasons": judgement.reasons,
        "settings": arm.settings,
        "effects": facts["knobs"],
        "loads": [to_builtins(load) for load in experiment.loads_of(run.arm)],
        "machine": machine,
        "during": session.during,
        "counts": counts,
    }
    write_parquet(folder.table_path(run), columns, identity, about)
    return judgement, counts, facts


def _drop_trace(run: Run, record: dict[str, Any], folder: Folder, options: Options, kept: set[str]) -> None:
    """Keeps the run file of each arm's first good run, and all of them where that was asked for."""
    if options.keep_traces or options.collect_only:
        return
    if record["status"] == OK and run.arm not in kept:
        kept.add(run.arm)
    else:
        for path in folder.trace_path(run).parent.glob(f"{run.stem}.mct*"):  # the kernel's trace lies beside
            path.unlink()
